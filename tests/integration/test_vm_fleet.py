"""Fifty VMs started and stopped by one command each, as processes of their own.

How long that takes and what a VM costs, beside bare QEMU: bench/fleet.py.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from broker import demo
from broker.model import MachineId
from broker.runtime.wiring import open_service
from tests.guests import needs_qemu
from tests.integration.cli import broker
from tests.integration.test_serving import is_running

pytestmark = [pytest.mark.qemu, needs_qemu]

COUNT = 50


@pytest.fixture
def names(broker_home: Path) -> list[str]:
    """So many tiny guests, defined."""

    async def define() -> list[str]:
        guest = demo.machine_spec(demo.write_image(broker_home / "demo.img"))
        specs = [
            replace(guest, name=f"fleet-{n:02d}", uuid=MachineId(str(uuid.uuid4())))
            for n in range(COUNT)
        ]
        async with open_service() as service:
            return [(await service.define(spec)).name for spec in specs]

    return asyncio.run(define())


def test_fifty_are_started_and_stopped_at_once(names: list[str]) -> None:
    try:
        started = broker("vm", "start", "fleet-*", "--json", seconds=200)
        up = started.rows
        pids = {row["pid"] for row in up}
        assert (started.code, [row["name"] for row in up]) == (0, names)
        assert ({row["state"] for row in up}, len(pids)) == ({"running"}, COUNT)
        again = broker("vm", "start", "fleet-*", "--json", seconds=200)
        assert {row["pid"] for row in again.rows} == pids
    finally:
        stopped = broker("vm", "stop", "fleet-*", "--timeout", "0", "--json", seconds=200)
    assert (stopped.code, {row["state"] for row in stopped.rows}) == (0, {"stopped"})
    assert not any(is_running(int(str(pid))) for pid in pids)
