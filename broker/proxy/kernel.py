"""What the kernel says of a TCP connection; nothing on other systems than Linux."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Final

from broker.latency import Tcp

_USUAL: Final = frozenset({"x86_64", "aarch64", "riscv64", "i686"})
"""Architectures on which Linux numbers a socket's options alike."""
_INFO: Final = getattr(socket, "TCP_INFO", None)
_FIRST: Final = struct.Struct("=24xI40xI28xI")
"""Of `struct tcp_info` (linux/tcp.h): tcpi_unacked, tcpi_rtt in µs, tcpi_total_retrans."""
_NEVER: Final = 0xFFFFFFFF
"""What the least round trip is before there was one."""
_LATER: Final = struct.Struct("=148xI")
"""tcpi_min_rtt in µs, since Linux 4.6."""


_MEMINFO: Final = 55 if sys.platform == "linux" and os.uname().machine in _USUAL else None
"""SO_MEMINFO (Linux 4.12), which Python does not name."""
_MEMORY: Final = struct.Struct("=12xI4xI")
"""Of what it gives (linux/sock_diag.h): SK_MEMINFO_SNDBUF and SK_MEMINFO_WMEM_QUEUED, in bytes."""


def room_of(sock: socket.socket) -> int:
    """So many bytes a TCP connection takes before it takes no more; 0 where nobody knows."""
    if _MEMINFO is None:
        return 0
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, _MEMINFO, _MEMORY.size)
        limit, queued = _MEMORY.unpack_from(info)
    except (OSError, struct.error):
        return 0
    return int(limit - queued)


def tcp_of(sock: socket.socket) -> Tcp | None:
    """How that connection does; None for a unix socket, a closed one, or another system."""
    if _INFO is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _INFO, _LATER.size)
        unacked, rtt, retransmits = _FIRST.unpack_from(info)
    except (OSError, struct.error):
        return None
    least = None
    if len(info) >= _LATER.size:
        (micros,) = _LATER.unpack_from(info)
        least = None if micros == _NEVER else micros / 1e6
    return Tcp(rtt / 1e6, retransmits, unacked, least)
