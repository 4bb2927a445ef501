"""Switching VMs while another process holds the database: done first, written down afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import demo
from broker.config.locations import Locations
from broker.model import Power
from tests.guests import needs_qemu
from tests.integration.cli import broker
from tests.integration.test_serving import is_running

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[int]:
    """The process of a demo guest called `held`; nothing of it is left."""
    image = demo.write_image(tmp_path / "held.raw")
    words = ("run", str(image), "--headless", "--accel", "tcg", "-m", "64", "--snapshot")
    ran = broker(*words, "--json")
    assert ran.code == 0, ran.err
    yield int(str(ran.document["pid"]))
    broker("vm", "kill", "held")


@contextlib.contextmanager
def held(locations: Locations) -> Iterator[None]:
    """Another process is writing, and does not come to an end."""
    with contextlib.closing(sqlite3.connect(locations.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def wanted(locations: Locations) -> list[str]:
    with contextlib.closing(sqlite3.connect(locations.database)) as reader:
        return [power for (power,) in reader.execute("SELECT power FROM wanted")]


def test_a_vm_is_switched_while_the_database_is_held_and_what_is_not_written_is_said(
    guest: int, locations: Locations
) -> None:
    with held(locations):
        reset = broker("vm", "reset", "held")
        assert (reset.code, reset.out) == (0, f"held is running (process {guest})\n")
        killed = broker("vm", "kill", "held")
        assert (killed.code, killed.out) == (0, "held is stopped\n")
        assert not is_running(guest)
        assert "is off, but that it is to stay off cannot be written down" in killed.err
        assert wanted(locations) == [Power.ON.value]
    again = broker("vm", "kill", "held")
    assert (again.code, again.out, again.err) == (0, "held is stopped\n", "")
    assert wanted(locations) == [Power.OFF.value]


def test_a_vm_is_stopped_while_the_database_is_held(guest: int, locations: Locations) -> None:
    with held(locations):
        stopped = broker("vm", "stop", "held", "--timeout", "0", "--json")
        assert (stopped.code, stopped.document["state"]) == (0, "stopped"), stopped.err
        assert not is_running(guest)
        assert "cannot be written down" in stopped.err
    assert broker("vm", "list", "--json").rows[0]["state"] == "stopped"
