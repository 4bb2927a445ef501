"""Our certificate authority, the proxy's certificate, and TLS towards hypervisors.

`state_dir/pki/` holds `ca.key`, `ca.pem`, `server.pem` (the proxy's key and certificate) and
`subject` (the certificate's subject in SPICE's notation). All are made on first use. The subject
never changes while the CA lives, so .vv files stay good when the certificate is renewed. Reading
what a .vv file needs imports no cryptography.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker.clock import Clock
from broker.errors import ConfigError, StoreError
from broker.findings import CertificateFacts

if TYPE_CHECKING:  # `ssl` takes 15 ms, and a .vv file needs none of it
    import ssl

CA_KEY = "ca.key"
CA_CERT = "ca.pem"
SERVER = "server.pem"
SUBJECT = "subject"


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
    ca_path, subject_path = pki_dir / CA_CERT, pki_dir / SUBJECT
    try:
        ca_pem = ca_path.read_text(encoding="latin-1")
        subject = subject_path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StoreError(
            f"{pki_dir}: our certificate cannot be read ({exc.strerror})",
            fix="See that this directory and what is in it are yours",
        ) from exc
    if not _is_whole(ca_pem):
        raise StoreError(f"{ca_path}: the certificate of our CA is damaged", fix=from_key(ca_path))
    if "=" not in subject or "\ufffd" in subject:
        return None  # it is written again from the certificate
    return Identity(ca_pem, subject, ca_path, pki_dir / SERVER)


def ensure_identity(pki_dir: Path, names: Sequence[str], clock: Clock) -> Identity:
    """What is there, made or renewed where needed. Several processes may do so at once.

    The certificate is renewed when it ends within 30 days, or is not good for one of `names`; it
    stays good for the names that it was good for.

    Args:
        pki_dir: Where it lives; its parent exists.
        names: Host names and addresses viewers reach the proxy by; loopback is always added.

    Raises:
        StoreError: A file is damaged, cannot be read or written; `fix` says what to remove and
            what that costs.
    """
    from broker.pki import authority

    try:
        authority.ensure(pki_dir, names, clock.now())
    except OSError as exc:
        raise StoreError(
            f"{pki_dir}: our certificate cannot be read or made ({exc.strerror})",
            fix="See that this directory is yours, writable and has room",
        ) from exc
    found = read_identity(pki_dir)
    assert found is not None
    return found


def server_facts(pki_dir: Path) -> CertificateFacts | None:
    """What the proxy's certificate says of itself; None when it was never made.

    Raises:
        StoreError: It is there and cannot be read.
    """
    from broker.pki import subjects

    path = pki_dir / SERVER
    try:
        pem = path.read_text(encoding="latin-1")
        body = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
        return subjects.facts_of(binascii.a2b_base64(body))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise StoreError(
            f"{path}: the proxy's certificate cannot be read", fix=make_again(path)
        ) from exc


def backend_context(ca_pem: str | None) -> ssl.SSLContext:
    """Our side towards a hypervisor: TLS 1.2 or newer, its chain verified against `ca_pem`.

    The host name is not checked by the context: SPICE certificates are checked by subject. Call
    `subject_matches`, or `name_matches` where no subject is configured.

    Args:
        ca_pem: The CAs to trust; None trusts the system's.

    Raises:
        ConfigError: `ca_pem` holds no certificate.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if ca_pem is None:
        context.load_default_certs()
        return context
    # Private CAs of hypervisors are often old: no key identifiers, and newer Pythons insist.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        # A comment between certificates may be in any language; OpenSSL wants ASCII.
        context.load_verify_locations(cadata=ca_pem.encode("ascii", "replace").decode("ascii"))
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError(
            "The console's ca_cert holds no certificate", fix="Give PEM text, or a file with it"
        ) from exc
    return context


def subject_of(certificate_der: bytes) -> str:
    """A certificate's subject in SPICE's notation: `C=DE,O=Lab,CN=node1`, in its own order."""
    from broker.pki import subjects

    return subjects.subject_of(certificate_der)


def facts_of(certificate_der: bytes) -> CertificateFacts:
    """What a certificate says of itself; ValueError when it cannot be read."""
    from broker.pki import subjects

    return subjects.facts_of(certificate_der)


def subject_matches(certificate_der: bytes, host_subject: str) -> bool:
    """Whether a certificate's subject is `host_subject`: every attribute, same values and order."""
    from broker.pki import subjects

    return subjects.subject_matches(certificate_der, host_subject)


def name_matches(certificate_der: bytes, host: str) -> bool:
    """Whether a certificate is good for `host` by its subject alternative names."""
    from broker.pki import subjects

    return subjects.name_matches(certificate_der, host)


def from_key(ca_path: Path) -> str:
    """What to do when only the CA's certificate is lost."""
    return f"Put a copy of it back, or: rm {ca_path}; it is made again from {CA_KEY} beside it"


def start_anew(pki_dir: Path) -> str:
    """What to do when the CA is lost, and what that costs."""
    return (
        f"Put a copy of it back, or start anew: rm -r {pki_dir}; a new CA is made, "
        "and .vv files exported before stop working"
    )


def make_again(server: Path) -> str:
    """What to do when only the proxy's certificate is lost."""
    return f"rm {server}; a new one is made by the same CA, and exported .vv files stay good"


def _is_whole(pem: str) -> bool:
    """Whether PEM text is one DER value of the length it says; a look without cryptography."""
    body = pem.partition("-----BEGIN CERTIFICATE-----\n")[2].partition("-----END CERTIFICATE-----")
    if not body[1]:
        return False
    try:
        der = binascii.a2b_base64(body[0].replace("\n", "").encode("ascii"), strict_mode=True)
    except ValueError:
        return False
    return der[:2] == b"\x30\x82" and len(der) == 4 + int.from_bytes(der[2:4], "big")
