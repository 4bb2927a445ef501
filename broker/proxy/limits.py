"""How much the proxy puts up with. Times are in seconds."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults that fit one host; the configuration may say otherwise."""

    tls_seconds: float = 10.0
    """From accepting a connection to the end of its TLS handshake."""
    link_seconds: float = 10.0
    """For each thing a viewer has to send: its request, its ticket, its first display message."""
    backend_seconds: float = 10.0
    """For connecting to a hypervisor, and for each answer of its link stage."""
    close_seconds: float = 5.0
    """For the last bytes to a viewer, and for a hypervisor to close the rest of a session."""
    drain_seconds: float = 6.0
    """For all sessions to end in the safe order when the proxy stops; less than a supervisor waits
    for its worker (`runtime.workers.END_SECONDS`), who would kill it before it can say how they
    ended."""
    turn_seconds: float = 60.0
    """That a viewer waits for a console which somebody else is at, when it was told to wait."""
    settle_seconds: float = 1.5
    """That a viewer waits for a console which somebody may just be leaving."""
    firewall_warns: bool = False
    """Messages outside of the tables that harm no machine are let by and counted."""
    report_seconds: float = 1.0
    """Between two reports of traffic."""
    key_seconds: float = 3600.0
    """Life of the RSA key that tickets are sealed with."""
    bad_tokens: int = 0
    """From one address before it has to wait; 0 never has anybody wait."""
    backoff_seconds: float = 300.0
    """The longest that an address has to wait."""
    half_open: int = 256
    """Connections that have not shown a good ticket yet, in all."""
    half_open_per_address: int = 32
    """... and from one address; a viewer opens about ten channels at once."""


SHARE_MIN: Final = 16
"""The least that a worker's share of a limit is: all channels of a viewer may land in one."""


def share(limit: int, workers: int) -> int:
    """What each of several workers takes of a limit that holds for all together."""
    return max(-(-limit // workers), min(limit, SHARE_MIN))
