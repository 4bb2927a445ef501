from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from broker.errors import StoreError
from broker.store.sealing import Sealer

TICKET = "known-ticket"


@pytest.fixture
def path(broker_home: Path) -> Path:
    return broker_home / "secret.key"


def test_what_is_sealed_comes_back_and_does_not_show(path: Path) -> None:
    sealer = Sealer(path)
    sealed = sealer.seal(TICKET, "lab/a")
    assert TICKET not in sealed
    assert sealed.isascii()
    assert sealer.unseal(sealed, "lab/a") == TICKET


@pytest.mark.parametrize("ticket", ["", "a\0b", "ä€\n", " x "])
def test_any_ticket_survives(path: Path, ticket: str) -> None:
    sealer = Sealer(path)
    assert sealer.unseal(sealer.seal(ticket, "lab/a"), "lab/a") == ticket


def test_sealing_twice_looks_different(path: Path) -> None:
    sealer = Sealer(path)
    assert sealer.seal(TICKET, "lab/a") != sealer.seal(TICKET, "lab/a")


def test_the_key_is_made_on_first_use_for_us_alone(path: Path) -> None:
    sealer = Sealer(path)
    assert not path.exists()
    sealer.seal(TICKET, "lab/a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir() if "key" in one.name] == ["secret.key"]


def test_unsealing_makes_no_key(path: Path) -> None:
    assert Sealer(path).unseal("junk", "lab/a") is None
    assert not path.exists()


def test_another_process_unseals_with_the_same_key(path: Path) -> None:
    assert Sealer(path).unseal(Sealer(path).seal(TICKET, "a/b"), "a/b") == TICKET


@pytest.mark.parametrize("sealed", ["", "junk", "ä", "gAAAAA"])
def test_what_was_never_sealed_is_missing(path: Path, sealed: str) -> None:
    sealer = Sealer(path)
    sealer.seal(TICKET, "lab/a")
    assert sealer.unseal(sealed, "lab/a") is None


def test_what_belongs_to_another_machine_is_missing(path: Path) -> None:
    sealer = Sealer(path)
    assert sealer.unseal(sealer.seal(TICKET, "lab/a"), "lab/b") is None


def test_a_key_that_was_replaced_is_noticed(path: Path) -> None:
    sealer = Sealer(path)
    old = sealer.seal(TICKET, "lab/a")
    path.unlink()
    new = sealer.seal(TICKET, "lab/a")
    assert sealer.unseal(old, "lab/a") is None
    assert sealer.unseal(new, "lab/a") == TICKET


@pytest.mark.parametrize("junk", [b"", b"short", b"\xff" * 44, b"x" * 5000])
def test_a_damaged_key_says_what_is_lost_and_how_to_start_anew(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)
    with pytest.raises(StoreError, match="cannot be read") as caught:
        Sealer(path).seal(TICKET, "lab/a")
    assert f"rm {path}" in caught.value.fix
    assert TICKET not in str(caught.value)
    assert path.read_bytes() == junk


def test_a_directory_in_its_place_is_said(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError):
        Sealer(path).seal(TICKET, "lab/a")


def test_processes_that_make_the_key_at_once_agree(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from broker.store.sealing import Sealer;"
        "print(Sealer(Path(sys.argv[1])).seal('known-ticket', 'a/b'))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    sealed = [process.communicate()[0].strip() for process in running]
    assert [Sealer(path).unseal(one, "a/b") for one in sealed] == [TICKET] * 4
