"""The proxy's certificate as a .vv file tells of it. Light when it has been made before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import pki
from broker.clock import SystemClock
from broker.service.consoles import Certificate

if TYPE_CHECKING:
    from broker.config.locations import Locations
    from broker.config.settings import ProxySettings


def certificate_names(settings: ProxySettings) -> tuple[str, ...]:
    """Host names and addresses the certificate must be good for."""
    names = [settings.public_host, settings.listen, *settings.certificate_names]
    wildcards = ("0.0.0.0", "::", "*", "")  # noqa: S104 - compared with, not bound to
    wanted = [name for name in names if name and name not in wildcards]
    return tuple(dict.fromkeys([*wanted, "localhost", "127.0.0.1", "::1"]))


def certificate_for(locations: Locations, settings: ProxySettings) -> Certificate:
    """Our CA and the leaf's subject, as they are; both are made on first use.

    Raises:
        StoreError: A key or certificate file is damaged or cannot be written.
    """
    identity = pki.read_identity(locations.pki_dir) or current_identity(locations, settings)
    return Certificate(ca_pem=identity.ca_pem, host_subject=identity.host_subject)


def current_identity(locations: Locations, settings: ProxySettings) -> pki.Identity:
    """What the listener shows: renewed when it is near its end or lacks a name.

    Raises:
        StoreError: A key or certificate file is damaged or cannot be written.
    """
    return pki.ensure_identity(locations.pki_dir, certificate_names(settings), SystemClock())
