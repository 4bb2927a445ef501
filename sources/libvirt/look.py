"""A look into a libvirt source, step by step, for `broker sources check`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from broker import findings, human
from broker.errors import BrokerError, NotFound
from broker.findings import Step
from broker.model import Machine
from sources.libvirt.link import Link

_XML_SECURE = 1


async def look_into(
    connection: Link, machines: Callable[[], Awaitable[Sequence[Machine]]], *, remote: bool
) -> Sequence[Step]:
    """Connect, list, and see what we may."""
    steps: list[Step] = []
    began = time.monotonic()

    def done(name: str, finding: findings.Finding) -> None:
        nonlocal began
        steps.append(Step(name, finding, time.monotonic() - began))
        began = time.monotonic()

    try:
        version = await connection.call(lambda c: (c.getLibVersion(), c.getType()))
        done("connect", findings.fine(f"{version[1]}, libvirt {_dotted(version[0])}"))
        found = await machines()
        done("list", findings.fine(human.counted(len(found), "machine")))
    except BrokerError as problem:
        done("list" if steps else "connect", findings.broken(problem.what, problem.fix))
        return steps
    done("rights", await _rights(connection, found, remote))
    return steps


async def _rights(connection: Link, found: Sequence[Machine], remote: bool) -> findings.Finding:
    """Whether passwords can be read and so be set; libvirt cannot be asked for the others."""
    if not found:
        return findings.odd("there is no machine to try them on", "Define one")
    uuid = found[0].key.uuid
    try:
        await connection.call(
            lambda c: c.lookupByUUIDString(uuid).XMLDesc(_XML_SECURE), right="domain.read-secure"
        )
    except NotFound:
        return findings.odd("the machine they were tried on has gone", "Check again")
    except BrokerError as problem:
        if not remote:
            return findings.odd(f"{problem.what}; screens need it elsewhere only", problem.fix)
        return findings.broken(problem.what, problem.fix)
    return findings.fine("domain.read and domain.read-secure; others show when they are used")


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
