"""The few things we say to a QEMU monitor, each with a time-out, each telling busy from dead.

A monitor serves one client at a time, so a conversation is short: take a turn, connect, ask, hang
up. Whatever goes wrong becomes one of three: `VmUnresponsive` (something is there and does not
answer), `MonitorGone`, or `CommandRefused`.

While a guest boots, each answer of QEMU's waits for the guest's CPU to let go of a lock, which is
milliseconds. So all commands are sent at once, and the greeting is not waited for.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, Unreachable, VmUnresponsive
from broker.vm import lock
from broker.within import within

BUSY_SECONDS: Final = 0.02
HEAR_OUT_SECONDS: Final = 2.0
MAX_ANSWER_BYTES: Final = 1024 * 1024
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


@dataclass(frozen=True, slots=True)
class Command:
    """One command of QMP."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def line(self, number: int) -> bytes:
        """What is sent; its answer has the same number."""
        said = {"execute": self.name, "arguments": dict(self.arguments), "id": number}
        return json.dumps(said).encode() + b"\n"


async def query_status(path: Path, *, name: str, timeout: float) -> str:
    """QEMU's run state, in its own word (`running`, `paused`, `shutdown`); raises as `ask`."""
    (answer,) = await ask(path, Command("query-status"), name=name, timeout=timeout)
    return str(answer.get("status", "")) if isinstance(answer, dict) else ""


async def greet(path: Path, *, name: str, timeout: float) -> None:
    """Wait for the first answer of a QEMU that starts: from then on its main loop works.

    One answer, where `query_status` takes two; while the guest boots each costs milliseconds.

    Raises as `ask`.
    """
    await ask(path, name=name, timeout=timeout)


async def hand_over(path: Path, fd: int, label: str, *, name: str, timeout: float) -> None:
    """Give QEMU a connected socket to serve SPICE on; our copy of `fd` stays ours.

    Args:
        label: What QEMU calls it for the moment; unique among those under way.

    Raises as `ask`.
    """
    commands = Command("getfd", {"fdname": label}), Command("add_client", _spice_client(label))
    undo = Command("closefd", {"fdname": label})
    await ask(path, *commands, name=name, timeout=timeout, fd=fd, undo=undo)


async def ask(
    path: Path,
    *commands: Command,
    name: str,
    timeout: float,
    fd: int | None = None,
    undo: Command | None = None,
) -> list[object]:
    """Say some commands to the monitor at `path` in one breath; their answers.

    Args:
        name: What to call the VM in errors.
        timeout: Seconds for everything, waiting for a turn included.
        fd: Sent with the commands, for `getfd`.
        undo: Said when one was refused; what becomes of it does not matter.

    Raises:
        VmUnresponsive: Something listens, and does not answer in time.
        MonitorGone: Nobody listens, or QEMU ended in the middle.
        CommandRefused: QEMU answered one of them with an error.
    """
    async with _turn(path, name, timeout):
        with await _dial(path) as end:
            lines = _Lines(end, name)
            end.sendmsg([Command("qmp_capabilities").line(0)])
            rights = [] if fd is None else [array.array("i", [fd])]
            said = b"".join(command.line(n) for n, command in enumerate(commands, 1))
            if said:
                end.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds) for fds in rights])
            try:
                return [await lines.answer(n) for n in range(len(commands) + 1)][1:]
            except CommandRefused:
                await _undone(end, lines, undo, len(commands) + 1)
                raise
            except asyncio.CancelledError:
                # QEMU forgets the rest when we hang up now, and what `getfd` gave it stays open.
                if fd is not None:
                    await _heard_out(end, lines, undo, len(commands))
                raise


async def _undone(end: socket.socket, lines: _Lines, undo: Command | None, number: int) -> None:
    if undo is not None:
        end.sendmsg([undo.line(number)])
        with contextlib.suppress(CommandRefused):
            await lines.answer(number)


async def _heard_out(end: socket.socket, lines: _Lines, undo: Command | None, last: int) -> None:
    """Wait a little until QEMU has answered our last command, though nobody needs it any more."""
    with contextlib.suppress(TimeoutError, MonitorGone, OSError):
        async with within(HEAR_OUT_SECONDS):
            try:
                await lines.answer(last)
            except CommandRefused:
                await _undone(end, lines, undo, last + 1)


class _Lines:
    """What a monitor says on one connection, taken apart into answers."""

    def __init__(self, end: socket.socket, name: str) -> None:
        self._end = end
        self._name = name
        self._waiting = b""

    async def answer(self, number: int) -> object:
        """What the command of that number gave; events and earlier answers are passed over."""
        while True:
            try:
                said = json.loads(await self._line())
            except ValueError as exc:
                raise MonitorGone(f"{self._name}: what answers is no monitor of QEMU") from exc
            if not isinstance(said, dict) or said.get("id") != number:
                continue
            if isinstance(problem := said.get("error"), dict):
                raise CommandRefused(
                    f"{self._name}: QEMU says: {problem.get('desc', '')}",
                    kind=str(problem.get("class", "")),
                )
            return said.get("return")

    async def _line(self) -> bytes:
        loop = asyncio.get_running_loop()
        while b"\n" not in self._waiting:
            more = await loop.sock_recv(self._end, 65536)
            if not more or len(self._waiting) > MAX_ANSWER_BYTES:
                raise MonitorGone(f"{self._name}: QEMU hung up")
            self._waiting += more
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line


async def _dial(path: Path) -> socket.socket:
    """Connect; waits its turn behind programs that are not brokers.

    On a unix socket that is done at once or not at all, also without blocking.
    """
    end = socket.socket(socket.AF_UNIX)
    try:
        end.setblocking(False)
        while True:
            try:
                end.connect(str(path))
            except OSError as exc:
                if exc.errno not in _BUSY:
                    raise
                await asyncio.sleep(BUSY_SECONDS)
            else:
                return end
    except BaseException:
        end.close()
        raise


@contextlib.asynccontextmanager
async def _turn(path: Path, name: str, timeout: float) -> AsyncIterator[None]:
    """Our turn at a monitor, within a time; what goes wrong in it told in our words."""
    try:
        async with within(timeout):
            try:
                async with lock.turn(path):
                    yield
            except OSError as exc:
                raise MonitorGone(f"{name}: its monitor is gone ({exc.strerror})") from exc
    except TimeoutError as exc:
        raise VmUnresponsive(
            f"{name}: QEMU's monitor did not answer within {timeout:g} s",
            fix="Another program may hold the monitor, or QEMU hangs: look at its log, or kill it",
        ) from exc


def _spice_client(label: str) -> Mapping[str, object]:
    return {"protocol": "spice", "fdname": label, "skipauth": True}
