"""Making what `broker.pki` reads: a CA for ten years and a certificate for one, EC P-256.

Every file is written whole under a lock, so that a kill at any moment leaves the old or the new.
The CA's certificate can be made again from its key; nothing can replace the key itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker import private_file
from broker.errors import StoreError
from broker.pki import CA_CERT, CA_KEY, SERVER, SUBJECT, from_key, make_again, start_anew
from broker.pki.subjects import subject_of

CA_LIFE = timedelta(days=3653)
LEAF_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
BACKDATED = timedelta(days=1)
"""Viewers' clocks are not ours."""

_CA_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Console Broker"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Console Broker CA"),
    ]
)
_LEAF_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Console Broker"),
        x509.NameAttribute(NameOID.COMMON_NAME, "console-broker"),
    ]
)


def ensure(pki_dir: Path, names: Sequence[str], now: datetime) -> None:
    """See `broker.pki.ensure_identity`; OSErrors are the caller's to translate."""
    pki_dir.mkdir(mode=0o700, exist_ok=True)
    if pki_dir.stat().st_mode & 0o077:
        pki_dir.chmod(0o700)
    with _lock(pki_dir / "lock"):
        key = _read_key(pki_dir)
        ca = _read_ca(pki_dir)
        if ca is None or ca.not_valid_after_utc - now < RENEW_BEFORE:
            if key is None:
                if ca is not None:
                    raise _no_key(pki_dir)
                key = ec.generate_private_key(ec.SECP256R1())
                private_file.write(pki_dir / CA_KEY, _key_pem(key), durable=True)
            ca = _make_ca(key, now)
            private_file.write(pki_dir / CA_CERT, _pem(ca), durable=True)
        elif key is not None and key.public_key() != ca.public_key():
            raise StoreError(
                f"{pki_dir}: {CA_KEY} is not the key of {CA_CERT}", fix=start_anew(pki_dir)
            )
        leaf = _read_leaf(pki_dir)
        wanted = _alternatives(names)
        if leaf is None or not _is_good(leaf, ca, wanted, now):
            if key is None:
                raise _no_key(pki_dir)
            before = _names_of(leaf) if leaf is not None else []
            leaf_key = ec.generate_private_key(ec.SECP256R1())
            leaf = _make_leaf(leaf_key, key, ca, list(dict.fromkeys([*wanted, *before])), now)
            private_file.write(pki_dir / SERVER, _key_pem(leaf_key) + _pem(leaf), durable=True)
        subject = subject_of(leaf.public_bytes(serialization.Encoding.DER)) + "\n"
        if not _holds(pki_dir / SUBJECT, subject.encode()):
            private_file.write(pki_dir / SUBJECT, subject.encode(), durable=True)


# -- reading


def _read_key(pki_dir: Path) -> ec.EllipticCurvePrivateKey | None:
    path = pki_dir / CA_KEY
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StoreError(f"{path}: the key of our CA is damaged", fix=start_anew(pki_dir))
    return key


def _read_ca(pki_dir: Path) -> x509.Certificate | None:
    path = pki_dir / CA_CERT
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise StoreError(
            f"{path}: the certificate of our CA is damaged", fix=from_key(path)
        ) from None


def _read_leaf(pki_dir: Path) -> x509.Certificate | None:
    path = pki_dir / SERVER
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        leaf = x509.load_pem_x509_certificate(text)
        key = serialization.load_pem_private_key(text, password=None)
        if key.public_key() != leaf.public_key():
            raise ValueError("key and certificate do not belong together")
    except (ValueError, TypeError):
        raise StoreError(
            f"{path}: the proxy's certificate is damaged", fix=make_again(path)
        ) from None
    return leaf


def _is_good(
    leaf: x509.Certificate, ca: x509.Certificate, wanted: list[x509.GeneralName], now: datetime
) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    in_time = leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc - RENEW_BEFORE
    return in_time and set(wanted) <= set(_names_of(leaf))


def _names_of(leaf: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _no_key(pki_dir: Path) -> StoreError:
    return StoreError(
        f"{pki_dir / CA_KEY}: the key of our CA is gone, so no certificate can be made",
        fix=start_anew(pki_dir),
    )


# -- making


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    """Host names and addresses as a certificate holds them; what names nobody is left out."""
    found: list[x509.GeneralName] = []
    for name in ("localhost", "127.0.0.1", "::1", *names):
        plain = name.strip().strip("[]").partition("%")[0].rstrip(".").lower()
        try:
            address = ipaddress.ip_address(plain)
        except ValueError:
            with contextlib.suppress(ValueError):
                host = plain.encode("idna").decode("ascii")
                if host:
                    found.append(x509.DNSName(host))
        else:
            if not address.is_unspecified:
                found.append(x509.IPAddress(address))
    return list(dict.fromkeys(found))


def _make_ca(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    public = key.public_key()
    return (
        x509.CertificateBuilder(_CA_NAME, _CA_NAME, public, x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_leaf(
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    names: list[x509.GeneralName],
    now: datetime,
) -> x509.Certificate:
    public = key.public_key()
    issuer = ca_key.public_key()
    return (
        x509.CertificateBuilder(ca.subject, _LEAF_NAME, public, x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now + LEAF_LIFE, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


# -- files


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
