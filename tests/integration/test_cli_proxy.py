"""serve, status, sessions and open, as a script would use them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.config.locations import Locations
from tests.guests import needs_qemu
from tests.integration.cli import BROKER, Said, a_display, broker, environment, running


@pytest.fixture
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PROXY_TLS_PORT", "0")


def workers(status: Said) -> list[int]:
    """The relay workers that `status --json` told of."""
    pids = status.document["workers"]
    assert isinstance(pids, list)
    return pids


def until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Look again and again until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.usefixtures("any_port")
def test_a_script_can_wait_for_the_proxy_and_end_it() -> None:
    assert broker("status", "--json").code == 4
    with running("serve", "--json") as serving:
        waited = broker("status", "--wait", "90", "--json")
        assert waited.code == 0
        seen = waited.document
        assert (seen["serving"], seen["pid"]) == (True, serving.pid)
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        # Each lists the workers that were up when it was asked: at least the first.
        assert seen.pop("workers")
        assert told.pop("workers")
        assert told == seen
        second = broker("serve", "--json")
        assert (second.code, second.error["error"]) == (1, "already-serving")
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(90) == 0
    assert broker("status", "--json").document["serving"] is False


@pytest.mark.usefixtures("any_port")
@pytest.mark.parametrize(
    ("words", "code"), [(("serve",), 0), (("events", "--follow"), 130)], ids=["serve", "events"]
)
def test_ctrl_c_ends_what_goes_on_without_a_traceback(words: tuple[str, ...], code: int) -> None:
    assert broker("vm", "define", "a").code == 0
    with running("--json", *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=90)
    assert process.returncode == code
    assert "Traceback" not in said


@pytest.mark.usefixtures("any_port")
def test_every_process_of_serve_logs_json_when_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BROKER_PROXY_WORKRES", "2")
    with running("serve", "--log-format", "json") as serving:
        port = broker("status", "--wait", "90", "--json").document["tls_port"]
        assert isinstance(port, int)
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while stranger.recv(4096):
                pass
        until(lambda: len(broker("events", "--json").rows) >= 2)
        serving.send_signal(signal.SIGTERM)
        _, said = serving.communicate(timeout=90)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (refused,) = [line for line in lines if line.get("event") == "session.refused"]
    assert (refused["verdict"], refused["level"]) == ("refused", "info")
    assert refused["client"].startswith("127.0.0.1:")
    assert "proxy.started" in [line.get("event") for line in lines]
    assert not [line for line in lines if "nobody new" in line["text"]]  # nobody was there
    (slip,) = [line for line in lines if "WORKRES" in line["text"]]  # of all processes, once
    assert slip["level"] == "warning"
    talk = [line for line in said.splitlines() if not line.startswith("{")]
    assert [line.partition(" on ")[0] for line in talk] == ["broker: serving"]


@pytest.mark.usefixtures("any_port")
def test_every_line_that_serve_logs_says_when_it_was() -> None:
    """Those of the supervisor too, which tell of what one looks for by its time."""
    with running("serve") as serving:
        pids = workers(broker("status", "--wait", "90", "--json"))
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: pids[0] not in workers(broker("status", "--json")))
        serving.send_signal(signal.SIGTERM)
        _, said = serving.communicate(timeout=90)
    lines = [line for line in said.splitlines() if not line.startswith("broker: serving on ")]
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:", line)] == []
    assert any(f"(process {pids[0]}) ended (killed by SIGKILL)" in line for line in lines)


@needs_qemu
@pytest.mark.qemu
@pytest.mark.usefixtures("any_port")
def test_the_doctor_knocks_at_the_proxy_once(demo_vm: str) -> None:
    with running("serve", "--json"):
        assert broker("status", "--wait", "90").code == 0
        steps = json.loads(broker("doctor", demo_vm, "--json").out)["steps"]
        marks = {step["name"]: step["mark"] for step in steps}
        assert (marks["proxy"], marks["proxy TLS"]) == ("ok", "ok")

        def knocks() -> list[object]:
            rows = broker("events", "--json").rows
            return [row["reason"] for row in rows if row["kind"] == "session.refused"]

        until(lambda: bool(knocks()))
    assert knocks() == ["client-closed"]  # all is written by now


@pytest.fixture
def demo_vm() -> Iterator[str]:
    assert broker("run", "--demo", "--headless").code == 0
    yield "demo"
    broker("vm", "kill", "demo")


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A screen that nobody sees."""
    program = shutil.which("Xvfb")
    if program is None or shutil.which("remote-viewer") is None:
        pytest.skip("Xvfb or remote-viewer is not installed")
    with a_display(program) as name:
        yield name


@needs_qemu
@pytest.mark.qemu
@pytest.mark.viewer
@pytest.mark.usefixtures("any_port")
def test_open_hosts_a_proxy_for_as_long_as_the_viewer_lives(
    demo_vm: str, display: str, locations: Locations
) -> None:
    env = environment(DISPLAY=display, GDK_BACKEND="x11", NO_AT_BRIDGE="1")
    opening = subprocess.Popen(
        [*BROKER, "open", demo_vm, "--json"], stdout=subprocess.PIPE, text=True, env=env
    )
    assert opening.stdout is not None
    opened = json.loads(opening.stdout.readline())
    try:
        assert opened["hosts_proxy"] is True
        until(lambda: len(broker("sessions", "--json").rows) == 1)
        (session,) = broker("sessions", "--json").rows
        assert session["console"] == demo_vm
        until(lambda: "display.0" in str(broker("sessions", "--json").rows[0]["channels"]))
        assert broker("disconnect", str(session["id"])[:6]).code == 0
        until(lambda: broker("sessions", "--json").rows == [])
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended with its session
            os.kill(opened["pid"], signal.SIGTERM)
    assert opening.wait(90) == 0
    opening.stdout.close()
    until(lambda: broker("status").code == 4)
    assert list((locations.runtime_dir / "viewer").glob("*.vv")) == []
    assert broker("vm", "list", "--json").rows[0]["state"] == "running"


@needs_qemu
@pytest.mark.qemu
def test_the_doctor_walks_to_a_local_vm_without_throwing_anybody_off(demo_vm: str) -> None:
    said = broker("doctor", demo_vm, "--json")
    marks = {step["name"]: step["mark"] for step in said.document["steps"]}  # type: ignore[attr-defined]  # a list of objects
    assert said.code == 0
    assert marks["connection"] == marks["SPICE"] == marks[".vv file"] == "ok"
    assert broker("doctor", demo_vm).code == 0
