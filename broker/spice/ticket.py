"""Tickets under RSA-1024 with OAEP and SHA-1, as the protocol demands.

This is weak by today's measure, so a ticket from a viewer travels inside TLS only (ADR 6).

Source: "Spice protocol", section Link; spice-gtk `spice-channel.c`.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from broker.spice.constants import MAX_TICKET_CHARS, PUBLIC_KEY_BYTES, SEALED_TICKET_BYTES
from broker.spice.errors import LocalProtocolError, RemoteProtocolError

KEY_BITS: Final = 1024


_OAEP: Final = padding.OAEP(
    mgf=padding.MGF1(hashes.SHA1()),  # noqa: S303 - the protocol knows no other
    algorithm=hashes.SHA1(),  # noqa: S303 - the protocol knows no other
    label=None,
)


class TicketKey:
    """A server's key pair for tickets. Takes 6 to 18 ms to make: make it ahead and share it."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self.public_bytes = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        """What LinkReply carries, 162 bytes."""
        if len(self.public_bytes) != PUBLIC_KEY_BYTES:
            raise LocalProtocolError(f"the ticket key has {private.key_size} bits, not {KEY_BITS}")

    @classmethod
    def generate(cls) -> "TicketKey":
        """A fresh pair. Blocks for some milliseconds: call it in a thread."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS))

    def open(self, sealed: bytes) -> bytes | None:
        """The password inside, cut at its first NUL; None when it was not sealed for this key."""
        try:
            return self._private.decrypt(sealed, _OAEP).split(b"\0", 1)[0]
        except ValueError:
            return None


def seal(password: bytes, public_key: bytes) -> bytes:
    """Encrypt a password for the server that offered `public_key`; 128 bytes.

    Raises:
        LocalProtocolError: The password is longer than any server accepts.
        RemoteProtocolError: The server's key is no RSA key of 1024 bits.
    """
    if len(password) > MAX_TICKET_CHARS:
        raise LocalProtocolError(f"a ticket has at most {MAX_TICKET_CHARS} characters")
    try:
        key = serialization.load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise RemoteProtocolError("the server's ticket key cannot be read") from exc
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != SEALED_TICKET_BYTES * 8:
        raise RemoteProtocolError("the server's ticket key is not an RSA key of 1024 bits")
    return key.encrypt(password + b"\0", _OAEP)
