"""What the kernel says of a TCP connection; nothing on other systems than Linux."""

from __future__ import annotations

import socket
import struct
from typing import Final

from broker.latency import Tcp

_INFO: Final = getattr(socket, "TCP_INFO", None)
_START: Final = struct.Struct("=24xI40xI28xI")
"""Of `struct tcp_info` (linux/tcp.h): tcpi_unacked, tcpi_rtt in µs, tcpi_total_retrans."""


def tcp_of(sock: socket.socket) -> Tcp | None:
    """How that connection does; None for a unix socket, a closed one, or another system."""
    if _INFO is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _INFO, _START.size)
        unacked, rtt, retransmits = _START.unpack(info)
    except (OSError, struct.error):
        return None
    return Tcp(rtt / 1e6, retransmits, unacked)
