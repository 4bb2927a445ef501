"""A ticket for one session at a VM's own SPICE port, for viewers that come without the proxy."""

from __future__ import annotations

import math
from typing import Final

from broker import tokens
from broker.errors import NoConsole, UsageError
from broker.model import Console, MachineSpec, TcpTarget
from broker.vm.monitor import Command, CommandRefused, ask
from broker.vm.paths import VmPaths

ANSWER_SECONDS: Final = 5.0
_WILDCARDS: Final = ("0.0.0.0", "::", "*", "")  # noqa: S104 - compared with, not bound to


async def issue(spec: MachineSpec, paths: VmPaths, *, seconds: float) -> Console:
    """Have QEMU take a new ticket, and no other, for so many seconds (one more at most).

    Who is at the console stays; whoever came by an earlier ticket opens no further channels by it.

    Raises:
        NoConsole: The VM has no port for SPICE, or runs without SPICE.
        MonitorGone: It is off.
        VmUnresponsive: Its QEMU does not answer.
        UsageError: Its port was opened without tickets, by arguments of its own.
    """
    if spec.spice is None:
        raise NoConsole(
            f"{spec.name} listens on no port: its console is handed over by the proxy",
            fix="Leave out --direct, or define it with spice: {tcp: auto}",
        )
    ticket = tokens.mint()
    password = {"protocol": "spice", "password": ticket, "connected": "keep"}
    # An expiry belongs to QEMU, not to the password: it is set after it, each time.
    expiry = {"protocol": "spice", "time": f"+{math.ceil(seconds)}"}
    commands = (
        Command("set_password", password),
        Command("expire_password", expiry),
        Command("query-spice"),
    )
    try:
        *_, found = await ask(paths.qmp, *commands, name=spec.name, timeout=ANSWER_SECONDS)
    except CommandRefused as exc:
        if exc.kind == "DeviceNotActive":
            raise NoConsole(f"{spec.name} runs without SPICE", fix="Start it anew") from exc
        raise UsageError(
            f"{spec.name}: QEMU takes no ticket ({exc.what})",
            fix="Look whether its extra_args switch tickets off",
        ) from exc
    facts = found if isinstance(found, dict) else {}
    host, port = str(facts.get("host", "")), facts.get("port")
    if not isinstance(port, int):
        raise NoConsole(
            f"{spec.name} was started before it was given a port", fix="Stop and start it"
        )
    return Console(TcpTarget("127.0.0.1" if host in _WILDCARDS else host, port), ticket=ticket)
