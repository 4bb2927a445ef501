"""Addresses that try tokens which are no good are kept waiting, longer each time.

A token cannot be guessed; this keeps those who try from filling the audit log, and from making a
worker decrypt for them. Sessions that live are not touched, nor are their further channels.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

ADDRESSES_MAX: Final = 10_000
"""Addresses that are remembered; who failed longest ago is forgotten first."""

FIRST_SECONDS: Final = 1.0
"""How long the first wait is; each further failure doubles it."""

BAD: Final = frozenset(
    {
        "token-unknown",
        "token-unreadable",
        "token-used",
        "token-expired",
        "token-revoked",
        "token-wrong",
    }
)
"""Reasons of refusals that count."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0


class Backoff:
    """What is remembered of addresses.

    Args:
        allowed: Tokens that may be no good before anybody has to wait; 0 never has one wait.
        longest: Seconds of the longest wait.
        forget: Seconds without a failure after which an address is forgotten.
        now: Seconds of a clock that only goes forward.
    """

    def __init__(
        self, allowed: int, longest: float, forget: float, now: Callable[[], float]
    ) -> None:
        self._allowed = allowed
        self._longest = longest
        self._forget = forget
        self._now = now
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def failed(self, host: str) -> None:
        """A token from there was no good."""
        if not self._allowed:
            return
        key, now = network_of(host), self._now()
        record = self._records.pop(key, None)
        if record is None or now - record.last > self._forget:
            record = _Record()
        record.failures += 1
        record.last = now
        over = record.failures - self._allowed
        if over >= 0:
            record.until = now + min(FIRST_SECONDS * 2.0 ** min(over, 32), self._longest)
        self._records[key] = record
        if len(self._records) > ADDRESSES_MAX:
            self._records.popitem(last=False)

    def wait(self, host: str) -> float:
        """Seconds for which nobody there may try another token; 0 for none."""
        record = self._records.get(network_of(host))
        return max(0.0, record.until - self._now()) if record else 0.0


def network_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the network an IPv6 host is in."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
