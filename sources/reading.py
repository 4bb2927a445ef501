"""Reads what an entry of sources.yaml names: files, environment variables, certificates.

Each time anew, so they may change while the broker runs. No error quotes what was read.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Final

from broker import human
from broker.driver import DriverContext
from broker.errors import ConfigError
from broker.model import SourceName
from broker.typed_path import expanded
from sources.options import Secret

MOST_BYTES: Final = 1024 * 1024
"""Of a secret or of certificates; the CAs of a whole system take a quarter of it."""


class Reader:
    """Reads the secrets and certificates of one source.

    Args:
        name: The source's, for errors.
    """

    def __init__(self, name: SourceName, context: DriverContext) -> None:
        self._where = f"sources.yaml: {name}"
        self._context = context
        self._odd: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd about the files, one sentence each, as of the last reading."""
        return tuple(self._odd.values())

    def path(self, text: str) -> Path:
        """A path as an entry gives it."""
        return self._context.config_dir / expanded(text)

    def secret(self, secret: Secret) -> str:
        """The secret itself; blocks.

        Raises:
            ConfigError: The file or variable it is in cannot be read, or is empty.
        """
        name = secret.key + secret.way
        if secret.way == "_env":
            return variable(secret.given, self._where, name)
        if secret.way == "_file":
            text, odd = secret_file(self.path(secret.given), self._where, name)
            self._odd.pop(name, None)
            self._odd.update({name: odd} if odd else {})
            return text
        return secret.given

    def ca(self, given: str | None, key: str) -> str | None:
        """PEM text of the CAs that an option gives; None when it gives none. Blocks.

        Raises:
            ConfigError: The file cannot be read, or there is no certificate in it.
        """
        if given is None:
            return None
        text = given if "-----BEGIN" in given else read_text(self.path(given), self._where, key)
        return certificates(text, self._where, key)


def read_text(path: Path, where: str, key: str) -> str:
    """A file that an option names.

    Raises:
        ConfigError: It cannot be read.
    """
    return _read(path, where, key)[0]


def _read(path: Path, where: str, key: str) -> tuple[str, int]:
    """What is in a file, and its mode. A pipe or a device is refused: its end may never come."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MOST_BYTES + 1) if stat.S_ISREG(mode) else None
        if content is None:
            reason = "it is no file"
        elif len(content) > MOST_BYTES:
            reason = f"it is longer than {human.size(MOST_BYTES)}"
        else:
            return content.decode("utf-8"), mode
    except (OSError, ValueError) as exc:
        reason = (exc.strerror or "") if isinstance(exc, OSError) else "it is no text"
    raise ConfigError(
        f"{where}: {key} names {path}, which cannot be read ({reason})",
        fix="Relative paths start at the directory of sources.yaml",
    )


def _without_waiting(name: str, flags: int) -> int:
    """Open it though it be a pipe that nobody writes into."""
    return os.open(name, flags | os.O_NONBLOCK)


def secret_file(path: Path, where: str, key: str) -> tuple[str, str]:
    """A secret in a file, without the line's end, and what is odd about the file.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    text, mode = _read(path, where, key)
    text = text.rstrip("\r\n")
    if not text:
        raise ConfigError(f"{where}: {path} is empty", fix=f"Write the {key[:-5]} into it")
    if mode & 0o044:
        return text, f"{where}: others can read {path}. Close it: chmod 600 {path}"
    return text, ""


def variable(name: str, where: str, key: str) -> str:
    """A secret in an environment variable.

    Raises:
        ConfigError: It is not set, or is no text.
    """
    if found := os.environ.get(name):
        if any("\ud800" <= char <= "\udfff" for char in found):  # bytes that are not UTF-8
            raise ConfigError(
                f"{where}: {key} names {human.one_line(name)}, which is no text",
                fix="Set it to text in UTF-8",
            )
        return found
    raise ConfigError(
        f"{where}: {key} names {human.one_line(name)}, which is not set",
        fix=f"Set it before broker starts: export {human.one_line(name)}=…",
    )


def certificates(text: str, where: str, key: str) -> str:
    """PEM text in which OpenSSL finds a certificate.

    Raises:
        ConfigError: It finds none.
    """
    try:
        plain = text.encode("ascii", "replace").decode("ascii")  # comments may be in any language
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=plain)
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            f"{where}: {key} holds no certificate",
            fix="Give PEM text that begins with -----BEGIN CERTIFICATE-----, or the path of such "
            "a file",
        ) from None
    return text
