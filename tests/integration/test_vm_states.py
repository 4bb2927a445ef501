"""Every state a VM can be brought to: seen, held by a signal, killed and said how, started anew."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from broker import demo
from broker.errors import UsageError
from broker.model import Disk, DiskBus, State
from broker.vm.instance import Ending, Instance
from tests.guests import TEST_PATIENCE, Home, logged, needs_qemu, qemus_of, qmp
from tests.stopping import hold

pytestmark = [pytest.mark.qemu, needs_qemu]

HOPELESS = replace(TEST_PATIENCE, answer=0.5, end=0.5)
"""For a QEMU that is known neither to answer nor to end."""

SLEEPS = b"\xba\x04\x06\xb8\x00\x24\xef"  # mov dx,604h; mov ax,2400h (S3); out dx,ax
PANICS = b"\xba\x05\x05\xb0\x01\xee"  # mov dx,505h; mov al,1; out dx,al
WRITES = (  # mov ax,0301h; mov bx,7c00h; mov cx,2; mov dx,0081h; int 13h: to the second disk
    b"\xb8\x01\x03\xbb\x00\x7c\xb9\x02\x00\xba\x81\x00\xcd\x13"
)


def sector(code: bytes) -> bytes:
    """The image of a guest that does that, and then halts."""
    return ((code + b"\xf4\xeb\xfd").ljust(510, b"\0") + b"\x55\xaa").ljust(demo.IMAGE_BYTES, b"\0")


def made(home: Home, code: bytes, *extra: str) -> Instance:
    """A VM of that guest, not started."""
    image = home.image("guest.img", sector(code))
    disk = Disk(str(image), "raw", DiskBus.SATA, snapshot=True)
    return home.instance(disks=(disk,), extra_args=extra, allow_insecure=True)


async def running(home: Home) -> Instance:
    return await started(home.instance())


async def paused(home: Home) -> Instance:
    instance = await running(home)
    await instance.pause()
    return instance


async def not_begun(home: Home) -> Instance:
    return await started(made(home, b"", "-S"))


async def off_in_qemu(home: Home) -> Instance:
    spec = home.spec()
    instance = await started(home.instance(spec, extra_args=("-no-shutdown",)))
    await logged(instance.paths.serial_log, demo.BANNER)
    await qmp(instance.paths.qmp, "system_powerdown")
    return instance


async def asleep(home: Home) -> Instance:
    return await started(made(home, SLEEPS, "-global", "ICH9-LPC.disable_s3=0"))


async def panicked(home: Home) -> Instance:
    return await started(made(home, PANICS, "-device", "pvpanic", "-action", "panic=pause"))


async def out_of_space(home: Home) -> Instance:
    """Its second disk has no room: QEMU holds the guest at the write that failed."""
    full = home.root / "full.img"
    full.write_bytes(bytes(1 << 20))
    bad = "driver=blkdebug,node-name=bad,inject-error.0.event=pwritev,inject-error.0.errno=28"
    nodes = f"{bad},inject-error.0.once=on,image.driver=file,image.filename={full}"
    return await started(
        made(home, WRITES, "-blockdev", nodes, "-device", "ide-hd,drive=bad,bus=ide.3")
    )


async def awaiting_migration(home: Home) -> Instance:
    return await started(made(home, b"", "-incoming", "defer"))


async def stuck_in_a_snapshot(home: Home) -> Instance:
    """As a snapshot that is not there leaves it."""
    image = home.root / "snap.qcow2"
    make = await asyncio.create_subprocess_exec(
        *("qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M")
    )
    assert await make.wait() == 0
    node = f"driver=qcow2,node-name=snap,file.driver=file,file.filename={image}"
    instance = await started(
        made(home, b"", "-blockdev", node, "-device", "virtio-blk-pci,drive=snap")
    )
    what: dict[str, object] = {"vmstate": "snap", "devices": ["snap"]}
    what |= {"job-id": "load", "tag": "nosuch"}
    await qmp(instance.paths.qmp, "snapshot-load", what)
    return instance


async def started(instance: Instance) -> Instance:
    await instance.start()
    return instance


@dataclass(frozen=True)
class Case:
    """A way to a state.

    Attributes:
        resumed: The state after `resume`; None when that is refused.
    """

    reach: Callable[[Home], Awaitable[Instance]]
    state: State
    reason: str
    resumed: State | None


CASES = {
    "running": Case(running, State.RUNNING, "", State.RUNNING),
    "paused": Case(paused, State.PAUSED, "", State.RUNNING),
    "prelaunch": Case(not_begun, State.PAUSED, "not started yet", State.RUNNING),
    "shutdown": Case(off_in_qemu, State.SHUTDOWN, "", None),
    "suspended": Case(asleep, State.SUSPENDED, "", State.SUSPENDED),
    "panicked": Case(panicked, State.CRASHED, "the guest's kernel panicked", None),
    "io-error": Case(
        out_of_space,
        State.ERROR,
        "a disk gave an error; the guest is held until it is resumed",
        State.RUNNING,
    ),
    "migrating": Case(awaiting_migration, State.MIGRATING, "", State.MIGRATING),
    "busy": Case(
        stuck_in_a_snapshot,
        State.BUSY,
        "going back to a snapshot; if that lasts, it failed half-way",
        State.RUNNING,
    ),
}


async def reached(instance: Instance, *states: State) -> str:
    """Wait until the VM is seen in one of these states; the reason that is given."""
    async with asyncio.timeout(60):
        while (seen := await instance.look()).state not in states:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
    return seen.reason


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
async def brought(
    request: pytest.FixtureRequest, home: Home
) -> AsyncIterator[tuple[Case, Instance]]:
    case: Case = request.param
    instance = await case.reach(home)
    try:
        assert await reached(instance, case.state) == case.reason
        yield case, instance
    finally:
        await instance.kill()


async def test_in_each_state_a_signal_is_seen_and_a_kill_is_told(
    brought: tuple[Case, Instance],
) -> None:
    case, instance = brought
    (pid,) = qemus_of(instance)
    hold(pid)
    held = await reached(replace(instance, patience=HOPELESS), State.UNRESPONSIVE)
    assert held == f"its QEMU is held by a signal; go on: kill -CONT {pid}"
    os.kill(pid, signal.SIGCONT)
    assert await reached(instance, case.state) == case.reason
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while (seen := await instance.look()).pid is not None:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    assert (seen.state, seen.reason) == (State.CRASHED, "QEMU ended: killed by SIGKILL")
    await instance.start()
    assert len(qemus_of(instance)) == 1


async def test_in_each_state_it_can_be_stopped_and_one_held_by_a_signal_too(
    brought: tuple[Case, Instance],
) -> None:
    instance = replace(brought[1], patience=HOPELESS)
    (pid,) = qemus_of(instance)
    hold(pid)
    said: list[str] = []
    assert await instance.stop(timeout=0, tell=said.append) is Ending.KILLED
    assert said[-1] == f"QEMU does not end; sending SIGKILL to process {pid}"
    assert ((await instance.look()).state, qemus_of(instance)) == (State.STOPPED, [])


async def test_in_each_state_resuming_does_what_there_is_to_do(
    brought: tuple[Case, Instance],
) -> None:
    case, instance = brought
    if case.resumed is None:
        with pytest.raises(UsageError, match="broker vm start"):
            await instance.resume()
    elif case.state not in (State.SUSPENDED, State.MIGRATING):
        await instance.resume()
        await reached(instance, case.resumed)
    assert await instance.stop(timeout=0) in {Ending.QUIT, Ending.POWERED_OFF}


async def test_a_guest_that_sleeps_is_woken_and_not_paused(home: Home) -> None:
    instance = await asleep(home)
    try:
        await reached(instance, State.SUSPENDED)
        with pytest.raises(UsageError, match="broker vm resume"):
            await instance.pause()
        await instance.resume()
        await reached(instance, State.RUNNING, State.SUSPENDED)  # it may sleep again at once
    finally:
        await instance.kill()


async def test_asking_for_what_already_is_is_no_error(home: Home) -> None:
    instance = await running(home)
    try:
        await instance.resume()
        for _ in range(2):
            await instance.pause()
            assert (await instance.look()).state is State.PAUSED
        assert await instance.start() is None
        assert await instance.stop(timeout=0) is Ending.QUIT
        assert await instance.stop(timeout=0) is Ending.WAS_OFF
        assert await instance.kill() is Ending.WAS_OFF
        for act in (instance.pause, instance.resume, instance.reset):
            with pytest.raises(UsageError, match="demo is off"):
                await act()
    finally:
        await instance.kill()
