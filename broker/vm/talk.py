"""The few things we say to a monitor that is not ours: QMP or HMP, on a unix socket or on TCP.

Each is a short conversation with a time-out. A monitor serves one client at a time, so it is left
at once; while another program is at it, nothing is answered (`VmUnresponsive`).

What HMP says is text for people: echoed letter by letter, then the answer, then `(qemu) `.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from broker.errors import VmUnresponsive
from broker.vm import monitor
from broker.vm.cmdline import Outlet, Speaks
from broker.vm.lock import turn
from broker.vm.monitor import Command, CommandRefused, MonitorGone
from broker.within import within

PROMPT: Final = b"(qemu) "
MAX_ANSWER_BYTES: Final = 1024 * 1024
_STATUS: Final = re.compile(r"VM status: (running|paused)(?: \(single step mode\))?(?: \((.+)\))?")


async def status(at: Outlet, *, name: str, timeout: float) -> str:
    """QEMU's run state, in its own word.

    Args:
        name: What to call the VM in errors.
        timeout: Seconds for everything.

    Raises:
        VmUnresponsive: Something listens, and does not answer in time.
        MonitorGone: Nobody listens, or QEMU ended in the middle.
    """
    if at.speaks is Speaks.QMP:
        (answer,) = await _qmp(at, Command("query-status"), name=name, timeout=timeout)
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""
    said = _STATUS.search(await _hmp(at, "info status", name=name, timeout=timeout))
    return (said[2] or said[1]) if said else ""


async def order(at: Outlet, word: str, *, name: str, timeout: float) -> None:
    """Have an order carried out that has no arguments and is the same in QMP and HMP.

    Args:
        word: `system_powerdown`, `stop`, `cont` or `system_reset`.

    Raises:
        CommandRefused: QEMU will not; else as `status`.
    """
    await _say(at, Command(word), word, name=name, timeout=timeout)


async def set_ticket(at: Outlet, ticket: str, *, name: str, timeout: float) -> None:
    """Let whoever shows `ticket` in from now on; those who are in stay.

    It does not expire: channels that a session opens later are asked for it too.

    Args:
        ticket: At most 59 letters and digits.

    Raises:
        CommandRefused: QEMU will not: it has no SPICE, or was started with `disable-ticketing`.
    """
    said = {"protocol": "spice", "password": ticket, "connected": "keep"}
    password = Command("set_password", said)
    expiry = Command("expire_password", {"protocol": "spice", "time": "never"})
    await _say(at, password, f"set_password spice {ticket} keep", name=name, timeout=timeout)
    await _say(at, expiry, "expire_password spice never", name=name, timeout=timeout)


async def has_spice(at: Outlet, *, name: str, timeout: float) -> bool:
    """Whether its SPICE server is on; raises as `status`."""
    if at.speaks is Speaks.QMP:
        (answer,) = await _qmp(at, Command("query-spice"), name=name, timeout=timeout)
        return isinstance(answer, dict) and answer.get("enabled") is True
    said = await _hmp(at, "info spice", name=name, timeout=timeout)
    return "Server: disabled" not in said and "unknown" not in said


async def _say(at: Outlet, qmp: Command, hmp: str, *, name: str, timeout: float) -> None:
    if at.speaks is Speaks.QMP:
        await _qmp(at, qmp, name=name, timeout=timeout)
        return
    answer = (await _hmp(at, hmp, name=name, timeout=timeout)).strip()
    if answer:
        raise CommandRefused(f"{name}: QEMU says: {answer}", kind="GenericError")


async def _qmp(at: Outlet, *commands: Command, name: str, timeout: float) -> list[object]:
    if at.path is not None:
        return await monitor.ask(Path(at.path), *commands, name=name, timeout=timeout)
    async with _connection(at, name, timeout) as (reader, writer):
        capabilities = Command("qmp_capabilities")
        writer.writelines(each.line(n) for n, each in enumerate((capabilities, *commands)))
        answers: dict[object, object] = {}
        while len(answers) <= len(commands):
            said = _document(await reader.readline(), name)
            if isinstance(problem := said.get("error"), dict):
                words = f"{name}: QEMU says: {problem.get('desc', '')}"
                raise CommandRefused(words, kind=str(problem.get("class", "")))
            if "return" in said:
                answers[said.get("id")] = said["return"]
        return [answers.get(n) for n in range(1, len(commands) + 1)]


def _document(line: bytes, name: str) -> dict[str, object]:
    if not line:
        raise MonitorGone(f"{name}: QEMU hung up")
    try:
        said = json.loads(line)
    except ValueError as exc:
        raise MonitorGone(f"{name}: what answers is no monitor of QEMU") from exc
    return said if isinstance(said, dict) else {}


async def _hmp(at: Outlet, command: str, *, name: str, timeout: float) -> str:
    async with _connection(at, name, timeout) as (reader, writer):
        await _until_prompt(reader, name)
        writer.write(command.encode() + b"\n")
        echoed = await _until_prompt(reader, name)
        return echoed.partition(b"\r\n")[2].decode("utf-8", "replace").replace("\r\n", "\n")


async def _until_prompt(reader: asyncio.StreamReader, name: str) -> bytes:
    try:
        return (await reader.readuntil(PROMPT)).removesuffix(PROMPT)
    except asyncio.IncompleteReadError as exc:
        raise MonitorGone(f"{name}: QEMU hung up") from exc
    except asyncio.LimitOverrunError as exc:
        raise MonitorGone(f"{name}: what answers is no monitor of QEMU") from exc


@contextlib.asynccontextmanager
async def _connection(
    at: Outlet, name: str, timeout: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection for one conversation, all of it within a time; brokers take turns."""
    try:
        async with within(timeout), contextlib.AsyncExitStack() as held:
            if at.path is not None:
                await held.enter_async_context(turn(Path(at.path)))
            reader, writer = await _dial(at)
            held.push_async_callback(_hang_up, writer)
            yield reader, writer
    except TimeoutError as exc:
        raise VmUnresponsive(
            f"{name}: QEMU's monitor did not answer within {timeout:g} s",
            fix="Another program may hold the monitor, or QEMU hangs",
        ) from exc
    except OSError as exc:
        raise MonitorGone(f"{name}: its monitor is gone ({exc.strerror})") from exc


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()  # what a hung QEMU has not read yet must not hold us up
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _dial(at: Outlet) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if at.path is not None:
        return await asyncio.open_unix_connection(at.path, limit=MAX_ANSWER_BYTES)
    return await asyncio.open_connection(at.host, at.port, limit=MAX_ANSWER_BYTES)
