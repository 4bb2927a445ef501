"""Where a source may send us: what it tells is input, not truth.

A wrong default, a malicious tenant or a compromised manager could name any host and port. The
house hands each target its source's policy, and the proxy holds the address that it really
connects to against it, after names are resolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

METADATA: Final = (
    "169.254.169.254/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    "100.100.100.200/32",
)
"""Where clouds tell a machine its secrets; two of them are outside the link-local networks."""

UNPRIVILEGED: Final = (1024, 65535)
"""Ports that a console may be on when nothing is said: none that a system's services have."""


@dataclass(frozen=True, slots=True)
class DialPolicy:
    """Which addresses and ports the consoles of a source may be at.

    Attributes:
        networks: Networks (CIDR) that they are in; empty for anywhere. This host, its link and
            where clouds tell secrets are never meant, unless they are named as such:
            `127.0.0.0/8` allows the loopback, `0.0.0.0/0` does not.
        ports: Ranges of ports, both ends included.
        local: The source is on this host, so its consoles may be at the loopback.
    """

    networks: tuple[str, ...] = ()
    ports: tuple[tuple[int, int], ...] = (UNPRIVILEGED,)
    local: bool = False

    def refusal(self, address: str, port: int) -> str:
        """Why that may not be dialled; empty when it may.

        Args:
            address: A numeric IPv4 or IPv6 address, with or without a zone.
        """
        import ipaddress  # here, because a file can be exported without it

        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            found = found.ipv4_mapped or found
        if not any(low <= port <= high for low, high in self.ports):
            return f"port {port} is none of {self.ports_text}"
        within = [each for each in _networks(self.networks) if found in each]
        if self.networks and not within:
            return f"{found} is not in {', '.join(self.networks)}"
        if found.is_unspecified or found.is_multicast:
            return f"{found} is no address of a host"
        if found.is_loopback:
            named = self.local or any(each.is_loopback for each in within)
            return "" if named else f"{found} is this host itself"
        if any(found in each for each in _networks(METADATA)):
            named = any(each.num_addresses == 1 for each in within)
            return "" if named else f"{found} is where clouds keep their machines' secrets"
        if found.is_link_local:
            named = any(each.is_link_local for each in within)
            return "" if named else f"{found} is a link-local address"
        return ""

    @property
    def ports_text(self) -> str:
        """The ports as people write them: `5900-6100, 61000`."""
        return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in self.ports)


@cache
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    import ipaddress

    return tuple(ipaddress.ip_network(each, strict=False) for each in texts)
