"""A door to a VM's VNC socket for one viewer: `python -m broker.vm.vnc_door SOCKET`.

Viewers know VNC on a TCP port only. This process listens on one of 127.0.0.1, lets in one viewer
that knows the password it read from stdin, leads it to the socket, and ends with it. So nothing
listens that would let in anybody, and no secret stands in arguments or environment.

Once it listens it prints its port and goes to the background.
Source: RFC 6143, sections 7.1 and 7.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import socket
import sys
from typing import Final

from broker.owned import owned
from broker.within import within

WAIT_SECONDS: Final = 60.0
"""For how long the viewer is awaited."""
SHAKE_SECONDS: Final = 20.0
"""How long a handshake may take; the person types nothing, the viewer has the password."""
TRIES: Final = 3
PASSWORD_LENGTH: Final = 8
"""What VNC's authentication keeps of a password."""
VERSIONS: Final = (b"RFB 003.007\n", b"RFB 003.008\n")
NONE, VNC = b"\x01", b"\x02"
"""Security types."""
_OK: Final = b"\0\0\0\0"
_FAILED: Final = b"\0\0\0\1"
_CHUNK: Final = 256 * 1024


class Stranger(Exception):
    """Somebody who does not speak VNC, or does not know the password."""


def response(password: bytes, challenge: bytes) -> bytes:
    """What a viewer that knows the password answers to a challenge of 16 bytes.

    DES, its key the password with the bits of each byte in reverse.
    """
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:8].ljust(8, b"\0"))
    # Thrice the same key is DES once.
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 - the protocol's
    return encryptor.update(challenge) + encryptor.finalize()


async def let_in(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: bytes
) -> None:
    """Be the server until the viewer has shown the password.

    Raises:
        Stranger: It has not.
        EOFError: It left.
    """
    writer.write(VERSIONS[-1])
    version = await reader.readexactly(12)
    if version not in VERSIONS:
        raise Stranger(f"no VNC of today: {version!r}")
    writer.write(b"\x01" + VNC)
    if await reader.readexactly(1) != VNC:
        raise Stranger("wants no password")
    challenge = secrets.token_bytes(16)
    writer.write(challenge)
    answer = await reader.readexactly(16)
    if not hmac.compare_digest(answer, response(password, challenge)):
        reason = b"wrong password"
        told = len(reason).to_bytes(4) + reason if version == VERSIONS[-1] else b""
        writer.write(_FAILED + told)
        raise Stranger("wrong password")
    writer.write(_OK)
    await writer.drain()


async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be the viewer of a QEMU that asks for no password, up to ClientInit.

    Raises:
        Stranger: It asks for one.
        EOFError: It left.
    """
    await reader.readexactly(12)
    writer.write(VERSIONS[-1])
    count = (await reader.readexactly(1))[0]
    if NONE[0] not in await reader.readexactly(count):
        raise Stranger("the VM's VNC asks for a password")
    writer.write(NONE)
    if await reader.readexactly(4) != _OK:
        raise Stranger("the VM's VNC lets nobody in")


async def serve(listener: socket.socket, path: str, password: bytes) -> None:
    """Let one viewer in, and stay until it or the VM leaves.

    Raises:
        TimeoutError: Nobody came.
        Stranger: Only strangers came.
    """
    loop = asyncio.get_running_loop()
    for _ in range(TRIES):
        async with within(WAIT_SECONDS):
            accepted, _ = await loop.sock_accept(listener)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        viewer = await asyncio.open_connection(sock=accepted)
        try:
            async with within(SHAKE_SECONDS):
                await let_in(*viewer, password)
        except (Stranger, EOFError, OSError, TimeoutError):
            await _close(viewer[1])
            continue
        listener.close()
        await _lead(viewer, path)
        return
    raise Stranger(f"{TRIES} strangers came")


async def _lead(viewer: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str) -> None:
    try:
        machine = await asyncio.open_unix_connection(path)
        try:
            async with within(SHAKE_SECONDS):
                await enter(*machine)
            both = [
                owned(_pump(viewer[0], machine[1]), name="vnc to the machine"),
                owned(_pump(machine[0], viewer[1]), name="vnc to the viewer"),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        finally:
            await _close(machine[1])
    finally:
        await _close(viewer[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def main() -> int:
    """Read the password from stdin, print the port, and go to the background."""
    path, password = sys.argv[1], sys.stdin.buffer.readline().strip()
    if len(password) != PASSWORD_LENGTH:
        return 2
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)  # noqa: T201 - what our parent waits for
    if os.fork():
        os._exit(0)  # the child is nobody's: it outlives whoever asked for it
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    with contextlib.suppress(TimeoutError, Stranger, EOFError, OSError):
        asyncio.run(serve(listener, path, password))
    return 0


if __name__ == "__main__":
    sys.exit(main())
