"""The keys under which TLS 1.3 carries data, from the secrets of its handshake.

RFC 8446: sections 7.1 to 7.3.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


def label(name: bytes, size: int) -> bytes:
    """What HKDF-Expand-Label hashes for so many bytes, without a context; one digest's at most."""
    whole = b"tls13 " + name
    return size.to_bytes(2) + bytes((len(whole),)) + whole + b"\0\1"


_IV_BYTES: Final = 12
_IV: Final = label(b"iv", _IV_BYTES)


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite.

    Attributes:
        key_label: `label` of a key.
        next_label: `label` of the secret of the key that follows.
        records_most: Sealed with one key (section 5.5; 2^24.5 is the bound for AES-GCM).
    """

    cipher: type[AESGCM] | type[ChaCha20Poly1305]
    key_bytes: int
    digest: str
    key_label: bytes
    next_label: bytes
    records_most: int = 1 << 24


def _suite(
    cipher: type[AESGCM] | type[ChaCha20Poly1305],
    key_bytes: int,
    digest: str,
    digest_bytes: int,
    records_most: int = 1 << 24,
) -> Suite:
    key, after = label(b"key", key_bytes), label(b"traffic upd", digest_bytes)
    return Suite(cipher, key_bytes, digest, key, after, records_most)


SUITES: Final = {
    "TLS_AES_128_GCM_SHA256": _suite(AESGCM, 16, "sha256", 32),
    "TLS_AES_256_GCM_SHA384": _suite(AESGCM, 32, "sha384", 48),
    "TLS_CHACHA20_POLY1305_SHA256": _suite(ChaCha20Poly1305, 32, "sha256", 32, 1 << 62),
}
"""By OpenSSL's names."""


class Direction:
    """The key of one direction, and how many records it has seen."""

    __slots__ = ("cipher", "iv", "most", "number", "secret", "suite")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite = suite
        self.most = suite.records_most
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        suite = self.suite
        digest = suite.digest
        self.secret = secret
        key = hmac.digest(secret, suite.key_label, digest)
        self.cipher = suite.cipher(key[: suite.key_bytes])
        self.iv = int.from_bytes(hmac.digest(secret, _IV, digest)[:_IV_BYTES])
        self.number = 0

    def update(self) -> None:
        """Take the next key."""
        self._use(hmac.digest(self.secret, self.suite.next_label, self.suite.digest))
