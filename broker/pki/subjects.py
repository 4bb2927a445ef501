"""Whom a certificate is for: its subject in SPICE's notation, and its alternative names.

SPICE writes a subject as `C=DE,O=Lab,CN=node1` in the certificate's own order, with a backslash
before a comma or backslash of a value; a viewer compares number, order, types and values.
Source: spice-common, common/ssl_verify.c.
"""

from __future__ import annotations

import hashlib
import ipaddress

from cryptography import x509
from cryptography.x509.oid import NameOID

from broker.findings import CertificateFacts

_SHORT = {
    NameOID.COUNTRY_NAME: ("C", "countryName"),
    NameOID.STATE_OR_PROVINCE_NAME: ("ST", "stateOrProvinceName"),
    NameOID.LOCALITY_NAME: ("L", "localityName"),
    NameOID.STREET_ADDRESS: ("street", "streetAddress"),
    NameOID.ORGANIZATION_NAME: ("O", "organizationName"),
    NameOID.ORGANIZATIONAL_UNIT_NAME: ("OU", "organizationalUnitName"),
    NameOID.COMMON_NAME: ("CN", "commonName"),
    NameOID.SERIAL_NUMBER: ("serialNumber", "serialNumber"),
    NameOID.EMAIL_ADDRESS: ("emailAddress", "emailAddress"),
    NameOID.DOMAIN_COMPONENT: ("DC", "domainComponent"),
    NameOID.USER_ID: ("UID", "userId"),
    NameOID.TITLE: ("title", "title"),
    NameOID.GIVEN_NAME: ("GN", "givenName"),
    NameOID.SURNAME: ("SN", "surname"),
}
_OID_BY_NAME = {name: oid.dotted_string for oid, names in _SHORT.items() for name in names}


def subject_of(certificate_der: bytes) -> str:
    """See `broker.pki.subject_of`; empty when the certificate cannot be read."""
    return ",".join(
        f"{_name_of(oid)}={value.replace(chr(92), chr(92) * 2).replace(',', chr(92) + ',')}"
        for oid, value in _attributes(certificate_der)
    )


def facts_of(certificate_der: bytes) -> CertificateFacts:
    """What a certificate says of itself; ValueError when it cannot be read."""
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return CertificateFacts(
        subject_of(certificate_der),
        tuple(str(name.value) for name in names),
        ",".join(
            f"{_name_of(each.oid.dotted_string)}={each.value!s}" for each in certificate.issuer
        ),
        hashlib.sha256(certificate_der).digest().hex(":").upper(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def subject_matches(certificate_der: bytes, host_subject: str) -> bool:
    """See `broker.pki.subject_matches`."""
    found = _attributes(certificate_der)
    return bool(found) and found == parse_subject(host_subject)


def parse_subject(text: str) -> list[tuple[str, str]]:
    """SPICE's notation as (object identifier, value) pairs; empty when it cannot be read."""
    parts = [""]
    escaped = False
    for char in text:
        if escaped:
            parts[-1] += char if char in "\\," else f"\\{char}"
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append("")
        else:
            parts[-1] += char
    pairs: list[tuple[str, str]] = []
    for part in parts:
        name, found, value = part.partition("=")
        name = name.strip()
        if not found or not name:
            return []
        pairs.append((_OID_BY_NAME.get(name, name), value))
    return pairs


def name_matches(certificate_der: bytes, host: str) -> bool:
    """See `broker.pki.name_matches`. A leading `*.` stands for one label."""
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        wanted = host.rstrip(".").lower()
        return any(
            _covers(name.lower(), wanted) for name in names.get_values_for_type(x509.DNSName)
        )
    return address in names.get_values_for_type(x509.IPAddress)


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        first, dot, rest = host.partition(".")
        return bool(first) and bool(dot) and "." in rest and name[2:] == rest
    return name == host


def _attributes(certificate_der: bytes) -> list[tuple[str, str]]:
    try:
        subject = x509.load_der_x509_certificate(certificate_der).subject
        return [(one.oid.dotted_string, str(one.value)) for rdn in subject.rdns for one in rdn]
    except ValueError:
        return []


def _name_of(oid: str) -> str:
    names = _SHORT.get(x509.ObjectIdentifier(oid))
    return names[0] if names else oid
