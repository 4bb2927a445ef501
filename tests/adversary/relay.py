"""A relay worker to be killed: a proxy in a process of its own, with tokens t0, t1, ...

`python -m tests.adversary.relay DIRECTORY PORT TICKET` says its port on stdout and serves until it
is killed or its standard input closes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from broker.model import TcpTarget
from tests.broker.proxy.rig import proxying

TOKENS = 4


async def main(directory: str, port: str, ticket: str) -> None:
    async with proxying(Path(directory)) as rig:
        for number in range(TOKENS):
            rig.gate.allow(TcpTarget("127.0.0.1", port=int(port)), ticket, f"t{number}")
        sys.stdout.write(f"{rig.port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
