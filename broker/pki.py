"""Our certificate authority, the proxy's certificate, and the TLS contexts.

`state_dir/pki/` holds `ca.key`, `ca.pem`, `server.pem` (the proxy's key and certificate) and
`subject` (the certificate's subject in SPICE's notation). All are made on first use. The subject
never changes while the CA lives, so .vv files stay good when the certificate is renewed. Reading
what a .vv file needs imports no cryptography.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.clock import Clock


@dataclass(frozen=True, slots=True)
class Identity:
    """What viewers know the proxy by.

    Attributes:
        ca_pem: Our CA's certificate, PEM text.
        host_subject: Subject of the proxy's certificate, `O=Console Broker,CN=…`, in the order of
            the certificate, as a .vv file's `host-subject` wants it.
        ca_path: PEM file of the CA's certificate.
        server_path: PEM file with the proxy's key and certificate, mode 0600.
    """

    ca_pem: str
    host_subject: str
    ca_path: Path
    server_path: Path


def read_identity(pki_dir: Path) -> Identity | None:
    """What is there already, or None when it was never made. Quick; checks no date.

    Raises:
        StoreError: It is there and cannot be read.
    """
    raise NotImplementedError


def ensure_identity(pki_dir: Path, names: Sequence[str], clock: Clock) -> Identity:
    """What is there, made or renewed where needed. Several processes may do so at once.

    The certificate is renewed when it ends within 30 days, or is not good for one of `names`.

    Args:
        pki_dir: Where it lives; its parent exists.
        names: Host names and addresses viewers reach the proxy by; loopback is always added.

    Raises:
        StoreError: A file is damaged, cannot be read or written; `fix` says what to remove and
            what that costs.
    """
    raise NotImplementedError


def server_context(identity: Identity) -> ssl.SSLContext:
    """The listener's side: TLS 1.2 or newer, our certificate, no client certificates asked.

    Raises:
        StoreError: `server.pem` cannot be used.
    """
    raise NotImplementedError


def backend_context(ca_pem: str | None) -> ssl.SSLContext:
    """Our side towards a hypervisor: TLS 1.2 or newer, its chain verified against `ca_pem`.

    The host name is not checked by the context: SPICE certificates are checked by subject. Call
    `subject_matches`, or check the name where no subject is configured.

    Args:
        ca_pem: The CAs to trust; None trusts the system's.

    Raises:
        ConfigError: `ca_pem` holds no certificate.
    """
    raise NotImplementedError


def subject_of(certificate_der: bytes) -> str:
    """A certificate's subject in SPICE's notation: `C=DE,O=Lab,CN=node1`, in its own order."""
    raise NotImplementedError


def subject_matches(certificate_der: bytes, host_subject: str) -> bool:
    """Whether a certificate's subject is `host_subject`: every attribute, same values and order."""
    raise NotImplementedError


def name_matches(certificate_der: bytes, host: str) -> bool:
    """Whether a certificate is good for `host` by its subject alternative names."""
    raise NotImplementedError
