"""The keys under which TLS 1.3 carries data, from the secrets of its handshake.

RFC 8446: sections 7.1 to 7.3.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite.

    Attributes:
        records_most: Sealed with one key (section 5.5; 2^24.5 is the bound for AES-GCM).
    """

    cipher: type[AESGCM] | type[ChaCha20Poly1305]
    key_bytes: int
    digest: str
    records_most: int = 1 << 24


SUITES: Final = {
    "TLS_AES_128_GCM_SHA256": Suite(AESGCM, 16, "sha256"),
    "TLS_AES_256_GCM_SHA384": Suite(AESGCM, 32, "sha384"),
    "TLS_CHACHA20_POLY1305_SHA256": Suite(ChaCha20Poly1305, 32, "sha256", 1 << 62),
}
"""By OpenSSL's names."""


def expand(suite: Suite, secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label without a context, of at most one digest's length."""
    name = b"tls13 " + label
    info = size.to_bytes(2) + bytes((len(name),)) + name + b"\0\1"
    return hmac.digest(secret, info, suite.digest)[:size]


class Direction:
    """The key of one direction, and how many records it has seen."""

    __slots__ = ("cipher", "iv", "most", "number", "secret", "suite")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite = suite
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        suite = self.suite
        self.secret = secret
        self.cipher = suite.cipher(expand(suite, secret, b"key", suite.key_bytes))
        self.iv = int.from_bytes(expand(suite, secret, b"iv", 12))
        self.number = 0
        self.most = suite.records_most

    def update(self) -> None:
        """Take the next key."""
        self._use(expand(self.suite, self.secret, b"traffic upd", len(self.secret)))
