from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli import open as opening
from broker.model import LinkPolicy, MachineKey, ProxyStatus
from broker.service.port import ExportRequest, Opened
from tests.broker.cli.calling import called, called_with
from tests.fakes.service import FakeService, console, session


class WithViewer(FakeService):
    """A service whose viewer is a real process, that lives for a moment, or until it is ended."""

    lasts = False

    async def open_viewer(self, key: MachineKey, request: ExportRequest | None = None) -> Opened:
        opened = await super().open_viewer(key, request)
        code = f"import time; time.sleep({600 if self.lasts else 0.2})"
        self.viewer = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", code])
        return Opened(self.viewer.pid, opened.command, opened.name)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":99")


@pytest.mark.usefixtures("display")
def test_a_proxy_is_hosted_for_as_long_as_the_viewer_lives() -> None:
    service = WithViewer()
    ran = called("open web-01 --json", service)
    assert ran.code == 0
    assert [what[0] for what in service.asked] == ["host_proxy", "open_viewer"]
    assert service.viewer.wait(0) == 0
    document = json.loads(ran.out)
    assert (document["name"], document["hosts_proxy"]) == ("web-01", True)


@pytest.mark.usefixtures("display")
def test_beside_a_serving_proxy_nobody_waits() -> None:
    service = WithViewer(proxy=ProxyStatus(True, "gw", 5920, 1, (2,)))
    service.lasts = True
    ran = called("open web-01", service)
    still_there = service.viewer.poll() is None
    service.viewer.kill()
    service.viewer.wait()
    assert (ran.code, still_there) == (0, True)
    assert [what[0] for what in service.asked] == ["open_viewer"]


@pytest.mark.usefixtures("display")
def test_no_wait_leaves_once_the_viewer_has_its_session() -> None:
    service = WithViewer()
    service.live.append(session(service.named("web-01"), "a", "b"))
    assert called("open web-01 --no-wait --take-over", service).code == 0
    service.viewer.wait()


@pytest.mark.usefixtures("display")
def test_a_console_that_is_in_use_is_said_before_a_viewer_starts() -> None:
    service = WithViewer()
    service.live.append(session(service.named("web-01"), "a", "192.0.2.9:51234"))
    ran = called("open web-01", service)
    assert ran.code == 5
    assert "in use by ana" in ran.err
    assert "broker open here/web-01 --take-over" in ran.err
    assert not [verb for verb, *_ in service.asked if verb == "open_viewer"]


@pytest.mark.usefixtures("display")
def test_a_token_of_a_hypervisor_names_a_console(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("https://cloud.example/nova?token=28e2fdba\n")
    service = WithViewer(proxy=ProxyStatus(True, "gw", 5920, 1, (2,)))
    assert called(f"open --nova-token {tmp_path}/token", service).code == 0
    assert service.asked[0] == ("find_by_token", "https://cloud.example/nova?token=28e2fdba\n")
    service.viewer.wait()


@pytest.mark.parametrize("words", ["open", "open web-01 --nova-token x", "open --nova-token gone"])
def test_a_console_is_named_once(words: str) -> None:
    ran = called(words, FakeService())
    assert ran.code == 2


@pytest.mark.usefixtures("display")
def test_a_viewer_that_never_connects_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 0.05)
    service = WithViewer()
    ran = called("open web-01 --no-wait", service)
    assert ran.code == 4
    assert "broker doctor web-01" in ran.err
    service.viewer.wait()


def test_without_a_display_it_says_what_to_type_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    service = FakeService()
    ran = called("open web-01", service)
    assert ran.code == 1
    assert "broker export-vv web-01 -o - | remote-viewer -" in ran.err
    assert service.asked == []


@pytest.mark.parametrize(
    ("asked", "meant"), [("here/web-01", "here/web-01"), ("here/a b", "'a b'")], ids=["two", "one"]
)
def test_what_it_says_to_type_means_the_same_console(
    asked: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    service = FakeService()
    service.rows += [console("web-01", "lab", 11), console("a b", "here", 12)]
    ran = called_with(["open", asked], service)
    assert f"broker export-vv {meant} -o - | remote-viewer -" in ran.err


@pytest.mark.usefixtures("display")
def test_which_of_two_is_to_be_started_is_said() -> None:
    service = FakeService()
    service.rows.append(console("db-01", "lab", 11))
    assert "broker vm start here/db-01" in called("open here/db-01", service).err


@pytest.mark.usefixtures("display")
def test_a_vm_that_is_off_is_not_opened() -> None:
    ran = called("open db-01", FakeService())
    assert ran.code == 1
    assert "broker vm start db-01" in ran.err


@pytest.mark.usefixtures("display")
def test_what_the_viewer_may_not_do_is_said_to_the_service() -> None:
    service = WithViewer(proxy=ProxyStatus(True, "gw", 5920, 1, (2,)))
    assert called("open web-01 --view-only --no-usb --to ana", service).code == 0
    service.viewer.wait()
    request = service.asked[0][2]
    assert isinstance(request, ExportRequest)
    assert request.label == "ana"
    assert request.policy == LinkPolicy(view_only=True, usb=False)
