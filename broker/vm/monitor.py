"""The few things we say to a QEMU monitor, each with a time-out, each telling busy from dead.

A monitor serves one client at a time, so a conversation is short: take a turn, connect, ask,
disconnect. `qemu.qmp` has no time-outs and raises a dozen kinds of error; here all of them become
one of two: `VmUnresponsive` (something is there and does not answer) or `MonitorGone`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate

from broker.errors import BrokerError, Unreachable, VmUnresponsive
from broker.vm import lock

# It logs each error that it also raises; whether one is worth a line is for us to say.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

DISCONNECT_SECONDS: Final = 1.0
BUSY_SECONDS: Final = 0.02
_BUSY: Final = frozenset({errno.EINVAL, errno.EAGAIN})
"""What connecting gives when more clients wait for the monitor than its backlog holds."""


class MonitorGone(Unreachable):
    """Nobody listens on that monitor any more: QEMU has ended, or has not got so far yet."""

    code = "vm-gone"


class CommandRefused(BrokerError):
    """QEMU answered a command with an error.

    Attributes:
        kind: QMP's error class, such as `GenericError` or `DeviceNotActive`.
    """

    code = "vm-command-refused"

    def __init__(self, what: str, *, kind: str) -> None:
        super().__init__(what)
        self.kind = kind


class Monitor:
    """An open conversation with one monitor; made by `conversation`."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client

    async def query_status(self) -> str:
        """QEMU's run state, in its own word (`running`, `paused`, `shutdown`)."""
        answer = await self._client.execute("query-status")
        return str(answer["status"]) if isinstance(answer, dict) else ""

    async def query_uuid(self) -> str:
        """The uuid this QEMU was given, lower case; zeros when it was given none."""
        answer = await self._client.execute("query-uuid")
        return str(answer["UUID"]).lower() if isinstance(answer, dict) else ""

    async def powerdown(self) -> None:
        """Press the power button; what the guest makes of it is the guest's affair."""
        await self._client.execute("system_powerdown")

    async def reset(self) -> None:
        """Press the reset button."""
        await self._client.execute("system_reset")

    async def resume(self) -> None:
        """Let the guest's CPUs run; they may run already."""
        await self._client.execute("cont")

    async def quit(self) -> None:
        """End QEMU at once, in good order; the guest is not asked."""
        with contextlib.suppress(ExecInterruptedError):  # it may hang up before it answers
            await self._client.execute("quit")

    async def hand_over(self, fd: int, label: str) -> None:
        """Give QEMU a connected socket to serve SPICE on; our copy of `fd` stays ours.

        Args:
            label: What QEMU calls it for the moment; unique in this conversation.
        """
        self._client.send_fd_scm(fd)
        await self._client.execute("getfd", {"fdname": label})
        try:
            await self._client.execute("add_client", _spice_client(label))
        except ExecuteError:
            with contextlib.suppress(ExecuteError):
                await self._client.execute("closefd", {"fdname": label})
            raise


@contextlib.asynccontextmanager
async def conversation(path: Path, *, name: str, timeout: float) -> AsyncIterator[Monitor]:
    """Talk with the monitor at `path`; it is another's turn when the block ends.

    Args:
        name: What to call the VM in errors.
        timeout: Seconds for everything: waiting for a turn, connecting, and the block.

    Raises:
        VmUnresponsive: Something listens, and does not answer in time: QEMU hangs or is stopped,
            or another program holds the monitor.
        MonitorGone: Nobody listens, or QEMU ended in the middle.
        CommandRefused: QEMU answered with an error.
    """
    client = QMPClient(name)
    try:
        async with asyncio.timeout(timeout):
            try:
                async with lock.turn(path):
                    try:
                        await _connect(client, path)
                        yield Monitor(client)
                    finally:
                        await _disconnect(client)
            except OSError as exc:
                raise MonitorGone(f"{name}: its monitor is gone ({exc.strerror})") from exc
            except ConnectError as exc:
                raise MonitorGone(f"{name}: its monitor is gone ({exc.exc})") from exc
            except ExecuteError as exc:
                raise CommandRefused(f"{name}: QEMU says: {exc}", kind=exc.error_class) from exc
            except (QMPError, EOFError) as exc:
                raise MonitorGone(f"{name}: QEMU hung up") from exc
    except TimeoutError as exc:
        raise VmUnresponsive(
            f"{name}: QEMU's monitor did not answer within {timeout:g} s",
            fix="Another program may hold the monitor, or QEMU hangs: look at its log, or kill it",
        ) from exc


async def _connect(client: QMPClient, path: Path) -> None:
    """Connect and read the greeting; waits its turn behind programs that are not brokers."""
    while True:
        try:
            await client.connect(str(path))
        except ConnectError as exc:
            if not (isinstance(exc.exc, OSError) and exc.exc.errno in _BUSY):
                raise
            await asyncio.sleep(BUSY_SECONDS)
        else:
            return


async def _disconnect(client: QMPClient) -> None:
    """Leave, however the conversation ended; a hung QEMU must not hold us up."""
    if client.runstate is Runstate.IDLE:
        return
    with contextlib.suppress(OSError, EOFError, QMPError, TimeoutError):
        async with asyncio.timeout(DISCONNECT_SECONDS):
            await client.disconnect()


def _spice_client(label: str) -> Mapping[str, object]:
    return {"protocol": "spice", "fdname": label, "skipauth": True}
