"""Opening the door to a VM's VNC socket for one viewer; the door itself is `vnc_door`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Final

from broker import tokens
from broker.errors import NoConsole, Unreachable
from broker.model import Console, Protocol, TcpTarget
from broker.vm.paths import VmPaths
from broker.vm.vnc_door import PASSWORD_LENGTH

OPEN_SECONDS: Final = 15.0


async def open_door(name: str, paths: VmPaths) -> Console:
    """A port of 127.0.0.1 that lets one viewer in, for a minute, by the password in `ticket`.

    Raises:
        NoConsole: The VM has no VNC socket: it is off, or was started with SPICE.
        Unreachable: The door does not open.
    """
    if not paths.vnc.exists():
        raise NoConsole(f"{name} has no VNC socket", fix=f"Start it: broker vm start {name}")
    password = tokens.password(PASSWORD_LENGTH)
    port = await asyncio.to_thread(_start, str(paths.vnc), password)
    if port is None:
        raise Unreachable(
            f"{name}: no port of 127.0.0.1 could be opened for a viewer",
            fix="Look whether this host is overloaded, and try again",
        )
    return Console(TcpTarget("127.0.0.1", port), Protocol.VNC, ticket=password)


def _start(path: str, password: str) -> int | None:
    command = [sys.executable, "-P", "-m", "broker.vm.vnc_door", path]
    try:
        done = subprocess.run(  # noqa: S603 - argv is built by us, no shell
            command,
            input=f"{password}\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=OPEN_SECONDS,
            check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith("BROKER_")},
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    said = done.stdout.strip()
    return int(said) if done.returncode == 0 and said.isdigit() else None
