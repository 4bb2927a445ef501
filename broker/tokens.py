"""Tokens: what a viewer gets as its password. Minted here, kept only as digests.

48 letters and digits are 285 bits: nobody guesses one, so a plain SHA-256 is all a digest needs.
A token stays below the 59 characters that spice-server, and so every viewer, keeps of a password.
"""

from __future__ import annotations

import hashlib
import os

from broker.model import SessionId

LENGTH = 48
"""Characters of a token."""

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SMALL = b"abcdefghijklmnopqrstuvwxyz0123456789"


def mint() -> str:
    """A new token: 48 ASCII letters and digits from the system's random source."""
    return _pick(_LETTERS, LENGTH)


def password(length: int) -> str:
    """A new password of so many ASCII letters and digits, for protocols that know short ones."""
    return _pick(_LETTERS, length)


def digest(token: str) -> bytes:
    """SHA-256 of a token, 32 bytes; any text has one."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def session_id() -> SessionId:
    """A new session id: twelve lower-case letters and digits. A name, not a secret."""
    return SessionId(_pick(_SMALL, 12))


def _pick(alphabet: bytes, count: int) -> str:
    """Equally likely characters; bytes that would favour some of them are thrown away.

    `secrets.choice` does the same, but importing `secrets` costs every export 5 ms.
    """
    even = 256 - 256 % len(alphabet)
    picked = bytearray()
    while len(picked) < count:
        picked += bytes(alphabet[b % len(alphabet)] for b in os.urandom(2 * count) if b < even)
    return picked[:count].decode("ascii")
