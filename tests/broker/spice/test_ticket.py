import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.spice.errors import LocalProtocolError, RemoteProtocolError
from broker.spice.ticket import TicketKey, seal


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_what_was_sealed_can_be_opened(key: TicketKey) -> None:
    sealed = seal(b"sesame", key.public_bytes)
    assert (len(sealed), key.open(sealed)) == (128, b"sesame")


def test_a_ticket_ends_at_its_first_nul(key: TicketKey) -> None:
    assert key.open(seal(b"sesame\0street", key.public_bytes)) == b"sesame"


def test_a_fresh_key_has_162_public_bytes() -> None:
    assert len(TicketKey.generate().public_bytes) == 162


def test_a_ticket_for_another_key_cannot_be_opened(key: TicketKey) -> None:
    assert key.open(seal(b"sesame", TicketKey.generate().public_bytes)) is None


@pytest.mark.parametrize("junk", [b"", bytes(128), b"\xff" * 128, bytes(5)])
def test_junk_cannot_be_opened(key: TicketKey, junk: bytes) -> None:
    assert key.open(junk) is None


def test_a_ticket_of_60_characters_matches_nowhere(key: TicketKey) -> None:
    with pytest.raises(LocalProtocolError, match="59"):
        seal(b"x" * 60, key.public_bytes)


@pytest.mark.parametrize(
    "offered",
    [
        bytes(162),
        public(ec.generate_private_key(ec.SECP256R1())),
        public(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    ],
    ids=["zeros", "not-rsa", "2048-bits"],
)
def test_a_server_key_of_another_kind_is_its_fault(offered: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="ticket key"):
        seal(b"sesame", offered)


def test_our_own_key_must_have_1024_bits() -> None:
    with pytest.raises(LocalProtocolError, match="2048"):
        TicketKey(rsa.generate_private_key(public_exponent=65537, key_size=2048))
