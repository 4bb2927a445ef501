"""What the kernel says of a TCP connection; nothing on other systems than Linux."""

from __future__ import annotations

import socket
import struct
from typing import Final

from broker.latency import Tcp

_INFO: Final = getattr(socket, "TCP_INFO", None)
_FIRST: Final = struct.Struct("=24xI40xI28xI")
"""Of `struct tcp_info` (linux/tcp.h): tcpi_unacked, tcpi_rtt in µs, tcpi_total_retrans."""
_NEVER: Final = 0xFFFFFFFF
"""What the least round trip is before there was one."""
_LATER: Final = struct.Struct("=148xI")
"""tcpi_min_rtt in µs, since Linux 4.6."""


def tcp_of(sock: socket.socket) -> Tcp | None:
    """How that connection does; None for a unix socket, a closed one, or another system."""
    if _INFO is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
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
