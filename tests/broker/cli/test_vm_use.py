"""`broker vm screenshot`, `keys`, `type`, `media`, `link`, `snapshot`: what they say."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from broker.cli.complete import candidates
from broker.errors import Refused, UsageError
from tests.broker.cli.calling import called, called_with
from tests.fakes.guest import PNG
from tests.fakes.service import FakeService


def test_a_picture_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "screen.png"
    ran = called_with(["vm", "screenshot", "web-01", "-o", str(file), "--json"], FakeService())
    document = {"name": "web-01", "path": str(file), "width": 720, "height": 400}
    assert json.loads(ran.out) == document
    assert file.read_bytes() == PNG
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_picture_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(called("vm screenshot web-01", FakeService()).out.strip())
    assert path.read_bytes() == PNG
    assert path.name.startswith("web-01-20")


def test_pictures_of_one_second_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("broker.cli.vm_screen._path_for", lambda name: Path(f"{name}-now.png"))
    said = [called("vm screenshot web-01", FakeService()).out.strip() for _ in range(2)]
    assert said == ["web-01-now.png", "web-01-now-2.png"]
    assert [Path(each).read_bytes() for each in said] == [PNG, PNG]


def test_only_a_picture_is_replaced(tmp_path: Path) -> None:
    service, file = FakeService(), tmp_path / "notes.txt"
    file.write_text("keep")
    words = ["vm", "screenshot", "web-01", "-o", str(file)]
    assert called_with(words, service).code == 2
    assert (file.read_text(), service.guests.asked) == ("keep", [])
    assert called_with([*words, "--force"], service).code == 0
    assert called_with(words, service).code == 0
    assert file.read_bytes() == PNG


def test_keys_go_in_their_order() -> None:
    service = FakeService()
    assert called("vm keys web-01 ctrl-alt-delete f2 --pace 0.1", service).code == 0
    assert service.guests.asked == [("press", "ctrl-alt-delete", "f2")]


def test_a_text_comes_as_an_argument_or_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService()
    ran = called_with(["vm", "type", "web-01", "ls -l", "--enter", "--json"], service)
    assert json.loads(ran.out) == {"name": "web-01", "characters": 6, "layout": "us"}
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret"))
    ran = called("vm type web-01 - --layout de --json", service)
    assert "s3cret" not in ran.out + ran.err
    assert service.guests.asked == [
        ("type", "ls -l\n", "us", False),
        ("type", "s3cret", "de", True),
    ]


def test_media_are_shown_changed_and_taken_out(tmp_path: Path) -> None:
    service, image = FakeService(), str(tmp_path / "x.iso")
    assert called("vm media web-01 --json", service).out.startswith('[{"drive": "cdrom0"')
    assert called(f"vm media web-01 insert {image}", service).out == f"cdrom0 has {image}\n"
    assert "in     " + image in called("vm media web-01", service).out
    assert json.loads(called("vm media web-01 eject --force --json", service).out)["image"] is None
    assert service.guests.asked[-1] == ("eject", "", True)


def test_the_cable_is_pulled_out() -> None:
    service = FakeService()
    assert called("vm link web-01 down --card nic1", service).out == "web-01: nic1 is down\n"
    assert service.guests.asked == [("link", False, "nic1")]


def test_snapshots_come_and_go() -> None:
    service = FakeService()
    assert called("vm snapshot save web-01 clean", service).out.startswith("web-01: clean is saved")
    (row,) = json.loads(called("vm snapshot list web-01 --json", service).out)
    assert (row["tag"], row["saved_at"], row["complete"]) == ("clean", "2026-11-21T08:15:00Z", True)
    assert "1m15s" in called("vm snapshot list web-01", service).out
    assert called("vm snapshot load web-01 clean --timeout 5s", service).code == 0
    assert service.guests.asked[-1] == ("load_snapshot", "clean", 5.0)
    assert called("vm snapshot load web-01 other", service).code == 3
    assert called("vm snapshot delete web-01 clean --json", service).out == (
        '{"name": "web-01", "tag": "clean", "deleted": true}\n'
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("vm keys web-01", "required: KEYS"),
        ("vm media web-01 insert", "broker vm media web-01 insert FILE"),
        ("vm media web-01 eject x.iso", "Inserting takes the file"),
        ("vm media web-01 insrt x.iso", "Did you mean insert?"),
        ("vm link web-01 off", "not one of up, down"),
        ("vm snapshot save web-01", "needs the snapshot's name"),
        ("vm snapshot list web-01 x", "takes no name"),
        ("vm screenshot web-01 -o - --json", "both want stdout"),
        ("vm screenshot printer", "is not a VM of this host"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_asked(words: str, said: str) -> None:
    service = FakeService()
    ran = called(words, service)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert service.guests.asked == []


def test_a_refusal_has_its_code() -> None:
    service = FakeService()
    service.guests.failing["press"] = Refused("web-01 would not hear a key", reason="not-running")
    ran = called("vm keys web-01 a --json", service)
    assert (ran.code, json.loads(ran.err)["reason"]) == (5, "not-running")
    service.guests.failing["press"] = UsageError("no such key")
    assert called("vm keys web-01 a", service).code == 2


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("vm snapshot", {"save", "load", "list", "delete"}),
        ("vm media web-01", {"insert", "eject"}),
        ("vm media web-01 insert", {":files"}),
        ("vm link web-01", {"up", "down"}),
        ("vm link web-01 up", set()),
        ("vm type web-01 --layout", set()),
    ],
)
def test_completion_knows_what_comes_where(line: str, offered: set[str]) -> None:
    assert {word for word, _ in candidates(line.split(), "")} == offered


def test_a_picture_that_cannot_be_written_is_said_before_the_guest_is_asked(tmp_path: Path) -> None:
    service = FakeService()
    for place in ("no/such/place.png", "a" * 300):
        ran = called_with(["vm", "screenshot", "web-01", "-o", str(tmp_path / place)], service)
        assert (ran.code, "cannot be written" in ran.err) == (1, True)
    assert not service.asked


def test_a_file_in_the_way_of_a_picture_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    ran = called_with(["vm", "screenshot", "web-01", "-o", str(tmp_path / "notes")], FakeService())
    assert ran.code == 2
    assert "not a PNG picture" in ran.err
