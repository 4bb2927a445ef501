"""A SPICE channel without a listener: QEMU is handed one end of a connection we made.

The connection is a TCP pair on the loopback, not a socketpair: on a unix socket spice-server
compresses no picture and sends no pings (reference: spice.md, "Backend transport choice"). While
the pair is made a listener exists for a fraction of a millisecond; whoever else connects to it is
turned away. ADR 4.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from pathlib import Path
from typing import Final

from broker.errors import NoConsole
from broker.vm import monitor
from broker.vm.monitor import CommandRefused

HAND_OVER_SECONDS: Final = 5.0
MAX_STRANGERS: Final = 16


async def hand_over(
    control_path: str, *, name: str = "", timeout: float = HAND_OVER_SECONDS
) -> socket.socket:
    """Connect to the SPICE server of the QEMU whose control monitor is at `control_path`.

    Several may ask at once, in one process or in many: QEMU is asked by one after the other.

    Args:
        control_path: The VM's `ctl.sock`.
        name: What to call the VM in errors; the path when empty.
        timeout: Seconds for everything, waiting for a turn included.

    Returns:
        A connected, non-blocking TCP socket with TCP_NODELAY; the caller's to close. The next
        thing on it is the link stage. QEMU demands a ticket message and accepts any ticket.

    Raises:
        VmUnresponsive: QEMU hangs, is stopped, or its control monitor is held by another.
        MonitorGone: The VM is off (an `Unreachable`).
        NoConsole: This QEMU runs without SPICE.
    """
    who = name or control_path
    async with contextlib.AsyncExitStack() as opened:
        ours, theirs = await tcp_pair()
        opened.callback(ours.close)
        with theirs:
            try:
                await monitor.hand_over(
                    Path(control_path),
                    theirs.fileno(),
                    f"console-{secrets.token_hex(4)}",
                    name=who,
                    timeout=timeout,
                )
            except CommandRefused as exc:
                raise NoConsole(
                    f"{who}: QEMU will not serve SPICE ({exc.what})",
                    fix="Start it with SPICE; for one started by hand, add: -spice agent-mouse=on",
                ) from exc
        opened.pop_all()
        return ours


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection on 127.0.0.1, non-blocking, with TCP_NODELAY.

    The first dialled the second. No third party is on it: a stranger who connects to the port in
    the meantime is told apart by its address and dropped.

    Raises:
        OSError: The loopback is unusable, or strangers keep knocking.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        dialler = socket.socket()
        opened.callback(dialler.close)
        for end in (listener, dialler):
            end.setblocking(False)
            end.bind(("127.0.0.1", 0))
        listener.listen()
        await loop.sock_connect(dialler, listener.getsockname())
        for _ in range(MAX_STRANGERS):
            accepted, peer = await _accepted(listener)
            if peer == dialler.getsockname():
                break
            accepted.close()
        else:
            raise ConnectionAbortedError("strangers keep connecting to a loopback port of ours")
        for end in (dialler, accepted):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.pop_all()
    listener.close()
    return dialler, accepted


async def _accepted(listener: socket.socket) -> tuple[socket.socket, object]:
    """Who comes next. `loop.sock_accept` loses a connection when it is cancelled in that moment."""
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            return listener.accept()
        knocked = asyncio.Event()
        loop.add_reader(listener, knocked.set)
        try:
            await knocked.wait()
        finally:
            loop.remove_reader(listener)
