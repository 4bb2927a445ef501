"""A relay worker to be killed: a proxy in a process of its own, with tokens t0, t1, ...

`python -m tests.adversary.relay DIRECTORY TARGET TICKET [FD]` says its port on stdout and serves
until it is killed or its standard input closes. TARGET is JSON; FD is its line.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from pydantic import TypeAdapter

from broker.model import Target
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import NoSpares, Spares
from broker.runtime.spares import SpareLine
from tests.adversary.machines import Ours
from tests.broker.proxy.rig import proxying

TOKENS = 4
TARGET: TypeAdapter[Target] = TypeAdapter(Target)


async def main(directory: str, target: str, ticket: str, line: str = "") -> None:
    spares: Spares = SpareLine(socket.socket(fileno=int(line))) if line else NoSpares()
    async with proxying(Path(directory), dialer=TargetDialer(Ours()), spares=spares) as rig:
        for number in range(TOKENS):
            rig.gate.allow(TARGET.validate_json(target), ticket, f"t{number}")
        sys.stdout.write(f"{rig.port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
