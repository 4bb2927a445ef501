"""What a QEMU that runs is told to do: pause, go on, reset, hear its power button, quit.

Each is said to the monitor that is asked for states and, where another program has taken that one,
to the one that channels are handed over by. Saying any of them twice does no harm.
"""

from __future__ import annotations

import contextlib
from typing import Final

from broker.errors import UsageError, VmUnresponsive
from broker.model import State
from broker.vm.monitor import Command, MonitorGone, ask
from broker.vm.paths import VmPaths

OFF: Final = frozenset({State.STOPPED, State.SHUTDOWN, State.CRASHED})
"""States in which there is no guest to pause, resume or reset."""
HELD: Final = frozenset({State.PAUSED, State.ERROR})
"""States in which the guest's CPUs stand still already, and `cont` lets them go on."""


async def tell(paths: VmPaths, *words: str, name: str, timeout: float) -> None:
    """Say QMP commands without arguments.

    Args:
        name: What to call the VM in errors.
        timeout: Seconds for an answer, per monitor.

    Raises:
        VmUnresponsive: QEMU does not answer at either monitor.
        MonitorGone: QEMU has ended.
        CommandRefused: QEMU refused one.
    """
    commands = [Command(word) for word in words]
    try:
        await ask(paths.qmp, *commands, name=name, timeout=timeout)
    except VmUnresponsive:
        await ask(paths.ctl, *commands, name=name, timeout=timeout)


async def press_power_button(paths: VmPaths, *, name: str, timeout: float) -> None:
    """What the guest makes of it is the guest's affair. Raises as `tell`."""
    await tell(paths, "system_powerdown", name=name, timeout=timeout)


async def quit_qemu(paths: VmPaths, *, name: str, timeout: float) -> None:
    """End QEMU in good order; the guest is not asked. It may hang up before it answers."""
    with contextlib.suppress(MonitorGone):
        await tell(paths, "quit", name=name, timeout=timeout)


async def restart_guest(paths: VmPaths, *, name: str, timeout: float) -> None:
    """Boot the guest of a QEMU that outlived its guest's power-off or panic. Raises as `tell`."""
    await tell(paths, "system_reset", "cont", name=name, timeout=timeout)


async def pause(paths: VmPaths, state: State, *, name: str, timeout: float) -> None:
    """Hold the guest's CPUs; one that is held already stays so.

    Raises:
        UsageError: There is nothing to pause.
    """
    if state in OFF:
        raise _is_off(name, state)
    if state is State.SUSPENDED:
        raise UsageError(
            f"{name} sleeps (suspended by its guest) and is not paused",
            fix=f"Wake it first: broker vm resume {name}",
        )
    if state not in HELD:
        await tell(paths, "stop", name=name, timeout=timeout)


async def resume(paths: VmPaths, state: State, *, name: str, timeout: float) -> None:
    """Let the guest go on, from a pause, a disk's error or its sleep.

    Raises:
        UsageError: There is no guest to go on.
    """
    if state in OFF:
        raise _is_off(name, state)
    if state is State.SUSPENDED:
        await tell(paths, "system_wakeup", name=name, timeout=timeout)
    elif state is not State.RUNNING:
        await tell(paths, "cont", name=name, timeout=timeout)


async def reset(paths: VmPaths, state: State, *, name: str, timeout: float) -> None:
    """Press the reset button; a guest that is paused stays so, at its first instruction.

    Raises:
        UsageError: It is off.
    """
    if state is State.STOPPED:
        raise _is_off(name, state)
    if state in OFF:
        await restart_guest(paths, name=name, timeout=timeout)
    else:
        await tell(paths, "system_reset", name=name, timeout=timeout)


def _is_off(name: str, state: State) -> UsageError:
    word = {State.STOPPED: "off", State.SHUTDOWN: "off", State.CRASHED: "crashed"}[state]
    return UsageError(f"{name} is {word}", fix=f"Start it: broker vm start {name}")
