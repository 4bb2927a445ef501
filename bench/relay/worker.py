"""The real proxy in a process of its own, with a gate that is only memory: no store, no disk.

`python -m bench.relay.worker --fd N --backend PORT --pem FILE`; says `ready` on its output.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import socket
from pathlib import Path

from broker import tokens
from broker.model import SessionId, TcpTarget
from broker.proxy import engines, watch
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import Admission, ConnectionRefused, Notice, Peer
from broker.proxy.limits import Limits
from broker.proxy.listener import Door
from broker.proxy.neighbours import Place
from broker.proxy.proxy import Proxy


class OpenGate:
    """Lets everybody in, and forgets what it is told; it only counts whom the proxy refused."""

    def __init__(self, port: int) -> None:
        self.refused: dict[str, int] = {}
        self._target = TcpTarget("127.0.0.1", port)
        self._numbers = itertools.count()

    async def admit(self, token: str, peer: Peer) -> Admission:
        """A session of its own for each."""
        number = SessionId(f"bench{os.getpid()}-{next(self._numbers)}")
        return Admission(number, tokens.digest(token), self._target, "bench", "bench")

    async def join(self, admission: Admission, channel: str, peer: Peer) -> Admission:
        """As it was."""
        return admission

    def record(self, notice: Notice) -> None:
        """Count refusals: a run that has some measured something else."""
        if isinstance(notice, ConnectionRefused):
            self.refused[notice.reason] = self.refused.get(notice.reason, 0) + 1


async def serve(door: socket.socket, backend: int, pem: Path, place: Place | None) -> None:
    """Until SIGTERM."""
    gate = OpenGate(backend)
    many = 1_000_000  # every connection comes from one address here
    limits = Limits(half_open=many, half_open_per_address=many)
    tls = engines.server(pem)
    proxy = Proxy([Door(door)], tls, gate, TargetDialer(), limits=limits, place=place)
    ready, stop = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(proxy.run(ready), name="proxy")
        await ready.wait()
        watch.settle()
        print("ready", flush=True)
        await stop.wait()
        serving.cancel()
    if gate.refused:
        os.write(2, f"refused: {gate.refused}\n".encode())


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="bench-relay-worker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--backend", type=int, required=True)
    parser.add_argument("--pem", type=Path, required=True)
    parser.add_argument("--place", help="NUMBER:DIRECTORY of this worker, where there are several")
    options = parser.parse_args()
    number, _, directory = (options.place or "").partition(":")
    place = Place(int(number), Path(directory)) if directory else None
    with asyncio.Runner(loop_factory=watch.new_loop) as runner:
        door = socket.socket(fileno=options.fd)
        runner.run(serve(door, options.backend, options.pem, place))


if __name__ == "__main__":
    main()
