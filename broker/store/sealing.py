"""Tickets at rest: sealed with a key of this installation, so that a copied database tells none.

ADR 5: Fernet, `secret.key` of mode 0600 beside the database. cryptography is imported when the
first ticket is sealed or unsealed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from broker.errors import StoreError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_Stamp = tuple[int, int, int]


class Sealer:
    """Seals and unseals with the key in one file, which is made when first needed."""

    def __init__(self, key_path: Path) -> None:
        self._path = key_path
        self._known: tuple[_Stamp, Fernet] | None = None

    def seal(self, ticket: str, belongs_to: str) -> str:
        """A ticket sealed, as ASCII text; different each time.

        Args:
            belongs_to: What it is the ticket of, without NUL; unsealing must name the same.

        Raises:
            StoreError: The key is damaged, or cannot be read or made.
        """
        fernet = self._fernet(make=True)
        assert fernet is not None
        return fernet.encrypt(f"{belongs_to}\0{ticket}".encode()).decode("ascii")

    def unseal(self, sealed: str, belongs_to: str) -> str | None:
        """The ticket; None when the key it was sealed with is gone.

        Raises:
            StoreError: The key is damaged or cannot be read.
        """
        from cryptography.fernet import InvalidToken

        fernet = self._fernet(make=False)
        if fernet is None:
            return None
        try:
            owner, found, ticket = fernet.decrypt(sealed.encode()).decode().partition("\0")
        except (InvalidToken, UnicodeError):
            return None
        return ticket if found and owner == belongs_to else None

    def _fernet(self, *, make: bool) -> Fernet | None:
        try:
            stamp = _stamp(self._path)
            if stamp is None and make:
                self._make()
                stamp = _stamp(self._path)
            if stamp is None:
                return None
            if self._known is not None and self._known[0] == stamp:
                return self._known[1]
            key = self._path.read_bytes()
        except OSError as exc:
            raise StoreError(
                f"{self._path}: the key for stored tickets cannot be read or made ({exc.strerror})",
                fix="See that it is a file of yours of mode 0600, in a directory of yours",
            ) from exc
        from cryptography.fernet import Fernet

        try:
            fernet = Fernet(key.strip())
        except ValueError as exc:
            raise StoreError(
                f"{self._path}: the key for stored tickets is damaged, so they cannot be read",
                fix=f"Put a copy of it back, or start anew: rm {self._path}; a new key is made, "
                "and the tickets in sources.yaml are stored again at the next look",
            ) from exc
        self._known = (stamp, fernet)
        return fernet

    def _make(self) -> None:
        """A whole new key, or the one that another process made meanwhile."""
        from cryptography.fernet import Fernet

        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, self._path)
        finally:
            fresh.unlink()


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)
