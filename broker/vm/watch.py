"""Hearing at once when a VM may look different: from QEMU's events, and from the kernel at its end.

One broker stays at each VM's event monitor; whoever calls this holds a lock for all of them. What
is heard is only a reason to look: the state is what `look` finds. A monitor that cannot be had (a
QEMU of an older broker, another program) is asked for again now and then, and the process's end is
heard all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from qemu.qmp import Message, QMPClient, QMPError, Runstate

from broker.model import MachineId
from broker.owned import owned
from broker.vm import process, record
from broker.vm.look import find
from broker.vm.paths import VmPaths
from broker.vm.process import Process
from broker.within import within

log = logging.getLogger(__name__)
# The library logs each error that it also raises; whether one is worth a line is for us to say.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

EVERY: Final = 1.0
"""Seconds between looks for VMs that some broker has started."""
AGAIN: Final = 5.0
"""Seconds until a monitor that could not be had is asked for again."""
GREETING_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 1.0
LONG: Final = 3600.0
TELLING: Final = frozenset(
    {
        "STOP",
        "RESUME",
        "SHUTDOWN",
        "POWERDOWN",
        "SUSPEND",
        "SUSPEND_DISK",
        "WAKEUP",
        "GUEST_PANICKED",
        "WATCHDOG",
        "BLOCK_IO_ERROR",
        "MIGRATION",
        "JOB_STATUS_CHANGE",
    }
)
"""Events after which a VM may look different. RESET is none, and comes in floods."""


class Vm(NamedTuple):
    """What is watched of a VM."""

    id: MachineId
    name: str
    paths: VmPaths


async def watch(vms: Callable[[], Iterable[Vm]], changed: Callable[[MachineId], None]) -> None:
    """Watch every VM that runs, those that are started later too, until cancelled.

    Args:
        vms: All there are now; asked every second.
        changed: Told which one may look different.
    """
    watched: dict[MachineId, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        while True:
            there = {vm.id: vm for vm in vms()}
            for gone in set(watched) - set(there):
                watched.pop(gone).cancel()
            for vm in there.values():
                if (task := watched.get(vm.id)) is not None and not task.done():
                    continue
                if (found := find(vm.paths)) is not None:
                    watched[vm.id] = group.create_task(
                        _stay(vm, found, changed), name=f"watch {vm.name}"
                    )
            await asyncio.sleep(EVERY)


async def _stay(vm: Vm, found: Process, changed: Callable[[MachineId], None]) -> None:
    """Stay with a QEMU until it has ended."""
    changed(vm.id)
    hears = _listen(vm, found, lambda: changed(vm.id))
    listening = owned(hears, name=f"listen to {vm.name}")
    try:
        while not await process.wait_gone(found, LONG):
            pass
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    changed(vm.id)


async def _listen(vm: Vm, found: Process, changed: Callable[[], None]) -> None:
    while True:
        try:
            await _hear(vm, found, changed)
        except (TimeoutError, QMPError) as exc:
            log.debug("%s: its events cannot be heard now: %s", vm.name, exc)
        await asyncio.sleep(AGAIN)


async def _hear(vm: Vm, found: Process, changed: Callable[[], None]) -> None:
    """Hear events until QEMU hangs up.

    Raises:
        QMPError: The monitor is not there, or is none.
        TimeoutError: Another program has it, or QEMU hangs.
    """
    client = QMPClient(vm.name)

    def heard(event: Message) -> bool:
        """Take one as it comes: QEMU hangs up right after the last, which a queue would lose."""
        if event["event"] == "SHUTDOWN":
            data = event.get("data")
            reason = data.get("reason") if isinstance(data, dict) else None
            record.note_cause(vm.paths.running, found, str(reason))
        changed()
        return False

    with client.listener(TELLING, heard):
        try:
            async with within(GREETING_SECONDS):
                await client.connect(str(vm.paths.evt))
            changed()  # whatever happened before we listened
            while client.runstate is Runstate.RUNNING:
                await client.runstate_changed()
        finally:
            await _leave(client)


async def _leave(client: QMPClient) -> None:
    """Hang up, however the conversation ended; a hung QEMU must not hold us up."""
    if client.runstate is Runstate.IDLE:
        return
    with contextlib.suppress(OSError, EOFError, QMPError, TimeoutError):
        async with within(LEAVE_SECONDS):
            await client.disconnect()
