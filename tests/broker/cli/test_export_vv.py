from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from broker.cli.export_vv import path_for
from broker.model import LinkPolicy
from tests.broker.cli.calling import FakeQuick, called, called_with
from tests.fakes.service import SECRET, FakeService

VV = f"[virt-viewer]\ntype=spice\npassword={SECRET}\n"


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


def test_the_file_is_called_after_the_console_and_private(tmp_path: Path) -> None:
    ran = called("export-vv web-01", FakeService())
    file = tmp_path / "web-01.vv"
    assert (ran.code, ran.out) == (0, "web-01.vv\n")
    assert file.read_text() == VV
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_stdout_gets_the_same_bytes_as_a_file(tmp_path: Path) -> None:
    called("export-vv web-01 -o a.vv", FakeService())
    assert called("export-vv web-01 -o -", FakeService()).out == (tmp_path / "a.vv").read_text()


def test_json_tells_of_the_file_without_its_secret() -> None:
    ran = called("export-vv web-01 -o a.vv --json", FakeService())
    document = json.loads(ran.out)
    assert {"path", "expires_at", "host", "tls_port"} <= document.keys()
    assert document["expires_at"] == "2026-11-21T08:17:00Z"
    assert SECRET not in ran.out + ran.err


def test_json_and_stdout_cannot_both_be_had() -> None:
    ran = called("export-vv web-01 -o - --json", FakeService())
    assert (ran.code, ran.out) == (2, "")


def test_a_fresh_file_takes_the_place_of_an_older_one_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "web-01.vv"
    file.write_text("[virt-viewer]\nold")
    assert called("export-vv web-01", FakeService()).code == 0
    assert file.read_text() == VV


def test_another_file_is_not_replaced_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("do not lose me")
    service = FakeService()
    ran = called("export-vv web-01 -o notes.txt", service)
    assert ran.code == 2
    assert service.asked == []
    assert "--force" in ran.err
    assert file.read_text() == "do not lose me"
    assert called("export-vv web-01 -o notes.txt --force", FakeService()).code == 0
    assert file.read_text() == VV


def test_a_symbolic_link_is_not_followed_even_when_forced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("[virt-viewer]\n")
    (tmp_path / "web-01.vv").symlink_to(target)
    assert called("export-vv web-01 --force", FakeService()).code == 2
    assert target.read_text() == "[virt-viewer]\n"


def test_a_directory_takes_the_file_under_its_usual_name(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    assert called("export-vv web-01 -o files", FakeService()).code == 0
    assert (tmp_path / "files" / "web-01.vv").exists()


@pytest.mark.parametrize("where", ["no/such/place.vv", "missing/"])
def test_a_missing_directory_is_said(tmp_path: Path, where: str) -> None:
    """What ends in a slash is no name of a file."""
    ran = called(f"export-vv web-01 -o {where}", FakeService())
    assert ran.code == 1
    assert "Make the directory first" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("web-01", "web-01.vv"),
        ("../../etc/passwd", "etc_passwd.vv"),
        ("a b\nc", "a_b_c.vv"),
        ("-rf", "rf.vv"),
        ("...", "console.vv"),
        ("büro", "büro.vv"),
    ],
)
def test_a_name_from_elsewhere_makes_a_harmless_file_name(name: str, file: str) -> None:
    assert path_for(None, name) == Path(file)


def test_options_reach_the_service() -> None:
    service = FakeService()
    words = ["export-vv", "web-01", "--ttl", "2h", "--host", "gw", "--label", "ana", "--direct"]
    called_with([*words, "--profile", "ryll"], service)
    (_, _, request) = service.asked[0]
    assert repr(request) == (
        "ExportRequest(profile='ryll', ttl=7200.0, host='gw', label='ana', direct=True,"
        " elsewhere=False, policy=LinkPolicy(view_only=False, usb=True, clipboard=True,"
        " file_transfer=True, audio_in=True, sources_from=(), session_ttl=None,"
        " occupied=<WhenOccupied.REFUSE: 'refuse'>))"
    )


@pytest.mark.parametrize(
    ("words", "elsewhere"),
    [
        (["-o", "-"], True),
        (["-o", "-", "--host", "localhost"], False),
        (["-o", "a.vv"], False),
    ],
    ids=["stdout", "stdout with a host", "file"],
)
def test_stdout_of_a_remote_shell_is_meant_for_elsewhere(
    words: list[str], elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 5 192.0.2.2 22")
    quick = FakeQuick(FakeService())
    called_with(["export-vv", "web-01", *words], quick.service, quick=quick)
    assert quick.exported[0].elsewhere is elsewhere


def test_a_direct_file_takes_the_full_service() -> None:
    service = FakeService()
    quick = FakeQuick(service)
    called("export-vv web-01 -o - --direct", service, quick=quick)
    assert quick.exported == []
    assert service.asked


@pytest.mark.parametrize("ttl", ["0", "-5", "soon", "5w", ""])
def test_a_time_that_is_none_is_refused(ttl: str) -> None:
    ran = called_with(["export-vv", "web-01", f"--ttl={ttl}"], FakeService())
    assert ran.code == 2
    assert "90s, 15m, 8h or 2d" in ran.err


def test_what_is_taken_away_and_from_where_it_may_be_used_reach_the_service() -> None:
    service = FakeService()
    quick = FakeQuick(service)
    words = "--view-only --no-usb --no-clipboard --no-file-transfer --no-audio-in --once --to ana"
    called(
        f"export-vv web-01 -o - {words} --from 192.0.2.0/24 --from 2001:DB8::1 --from 192.0.2.0/24",
        service,
        quick=quick,
    )
    (request,) = quick.exported
    assert request.label == "ana"
    assert request.policy == LinkPolicy(
        view_only=True,
        usb=False,
        clipboard=False,
        file_transfer=False,
        audio_in=False,
        sources_from=("192.0.2.0/24", "2001:db8::1/128"),
    )


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("192.0.2.7/24", "Write 192.0.2.0/24 for the network, 192.0.2.7 for the address"),
        ("everywhere", "Write it as 192.0.2.0/24"),
        ("10.0.0.0/33", "is not a network"),
    ],
    ids=["host bits", "word", "mask"],
)
def test_a_network_that_is_none_is_refused(network: str, words: str) -> None:
    ran = called(f"export-vv web-01 -o - --from {network}", FakeService())
    assert ran.code == 2
    assert words in ran.err
