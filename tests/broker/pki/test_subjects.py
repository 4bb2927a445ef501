from __future__ import annotations

import datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from broker import pki
from broker.pki import subjects

KEY = ec.generate_private_key(ec.SECP256R1())

Attributes = list[tuple[x509.ObjectIdentifier, str]]


def certificate(attributes: Attributes) -> bytes:
    """A certificate with that subject, DER."""
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    built = x509.CertificateBuilder(
        subject, subject, KEY.public_key(), 1, now, now + datetime.timedelta(days=1)
    )
    return built.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


LAB: Attributes = [
    (NameOID.COUNTRY_NAME, "DE"),
    (NameOID.ORGANIZATION_NAME, "Lab, Inc."),
    (NameOID.COMMON_NAME, "node1"),
]


def trusted(*names: str) -> bytes:
    leaf = trustme.CA().issue_cert(*names)
    loaded = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    return loaded.public_bytes(serialization.Encoding.DER)


def test_a_subject_is_written_in_the_certificates_order_with_commas_escaped() -> None:
    assert pki.subject_of(certificate(LAB)) == "C=DE,O=Lab\\, Inc.,CN=node1"


def test_an_attribute_without_a_short_name_is_its_number() -> None:
    oid = x509.ObjectIdentifier("1.2.3.4")
    text = pki.subject_of(certificate([(oid, "x")]))
    assert text == "1.2.3.4=x"
    assert pki.subject_matches(certificate([(oid, "x")]), text)


@pytest.mark.parametrize(
    "text",
    [
        "C=DE,O=Lab\\, Inc.,CN=node1",
        "C=DE, O=Lab\\, Inc., CN=node1",
        "countryName=DE,organizationName=Lab\\, Inc.,commonName=node1",
        "2.5.4.6=DE,O=Lab\\, Inc.,CN=node1",
    ],
)
def test_the_same_subject_matches_however_it_is_written(text: str) -> None:
    assert pki.subject_matches(certificate(LAB), text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CN=node1",
        "CN=node1,O=Lab\\, Inc.,C=DE",
        "C=DE,O=Lab\\, Inc.,CN=node2",
        "C=DE,O=Lab\\, Inc.,CN=node1,CN=node1",
        "C=DE,O=Lab, Inc.,CN=node1",
        "C=DE,O=Lab\\, Inc.,node1",
        "C=DE,O=Lab\\, Inc.,CN=",
    ],
    ids=["none", "part", "order", "value", "more", "unescaped", "no name", "empty"],
)
def test_another_subject_does_not_match(text: str) -> None:
    assert not pki.subject_matches(certificate(LAB), text)


def test_what_is_no_certificate_matches_nothing() -> None:
    assert pki.subject_of(b"junk") == ""
    assert not pki.subject_matches(b"junk", "")
    assert not pki.name_matches(b"junk", "h")


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=4)
)
def test_what_is_written_is_read_back(values: list[str]) -> None:
    oids = [NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME, NameOID.LOCALITY_NAME, NameOID.TITLE]
    der = certificate(list(zip(oids, values, strict=False)))
    assert pki.subject_matches(der, pki.subject_of(der))


@given(st.text())
def test_no_text_makes_the_reader_raise(text: str) -> None:
    subjects.parse_subject(text)


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("node1.example", True),
        ("NODE1.example.", True),
        ("a.lab.example", True),
        ("a.b.lab.example", False),
        ("lab.example", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("2001:db8:0::1", True),
        ("[2001:db8::1]", True),
        ("", False),
    ],
)
def test_a_host_is_looked_for_among_the_alternative_names(host: str, good: bool) -> None:
    der = trusted("node1.example", "*.lab.example", "192.0.2.1", "2001:db8::1")
    assert pki.name_matches(der, host) is good


def test_a_certificate_without_alternative_names_is_good_for_nobody() -> None:
    assert not pki.name_matches(certificate(LAB), "node1")
