"""Console tokens of Shaken Fist: signed by the cluster, for this broker, good once and for minutes.

They are verified here, with keys that the cluster tells; where the console is comes from our own
listing and never from a token. Source: Shaken Fist 0.8, its source and documents; not tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from broker.clock import Clock
from broker.errors import ConfigError, NotFound, Refused

ALGORITHM: Final = "EdDSA"
LEEWAY: Final = 10.0
"""Seconds that the cluster's clock and ours may differ by."""
FETCH_EVERY: Final = 60.0
"""Seconds in which an unknown key is looked for once at most: anybody can invent key ids."""
LIFE_MAX: Final = 3600.0
"""Seconds that a token may still be good for; the cluster makes them for five minutes."""

Keys = Callable[[], Awaitable[Mapping[str, str]]]
"""The cluster's public keys, PEM by id; none where it makes no tokens.

Raises:
    BrokerError: It does not tell.
"""


class ConsoleTokens:
    """Reads them.

    Args:
        where: The cluster, for errors.
        audience: The address that the cluster knows this broker by; None where nobody said.
        used: Directory in which it is remembered which were used, by all processes of this user.
    """

    def __init__(
        self, where: str, audience: str | None, keys: Keys, used: Path, clock: Clock
    ) -> None:
        self._where = where
        self._audience = audience
        self._fetch = keys
        self._used = used
        self._clock = clock
        self._keys: Mapping[str, str] = {}
        self._fetched: float | None = None
        self._fetching = asyncio.Lock()

    async def instance(self, token: str) -> str:
        """The uuid of the instance that it was made for; from now on it is used.

        Raises:
            NotFound: It is none of this cluster's, or has ended.
            Refused: It was used before.
            ConfigError: It may be one, but the audience is not known.
            BrokerError: The cluster does not tell its keys.
        """
        import jwt

        try:
            head = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise self._unknown() from None
        kid = head.get("kid")
        if head.get("alg") != ALGORITHM or not isinstance(kid, str):
            raise self._unknown()
        if self._audience is None:
            raise ConfigError(
                f"{self._where}: its console tokens are for an address that is not known here",
                fix="Set `token_audience` of the source to what the cluster has as KERBSIDE_URL",
            )
        if (key := await self._key(kid)) is None:
            raise self._unknown()
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                options={
                    "require": ["aud", "exp", "jti", "sub"],
                    "strict_aud": True,
                    "verify_exp": False,  # by our own clock, below
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError):
            raise self._unknown() from None
        now, until = self._clock.now().timestamp(), claims["exp"]
        if not isinstance(until, int | float) or not 0 <= until - now + LEEWAY <= LIFE_MAX:
            raise NotFound(
                f"{self._where}: that console token has ended", fix="Ask the cluster for a new one"
            )
        await asyncio.to_thread(self._use, str(claims["jti"]), float(until) + LEEWAY, now)
        return str(claims["sub"]).lower()

    async def _key(self, kid: str) -> str | None:
        """A key; the cluster is asked when it is not known, but not all the time."""
        async with self._fetching:
            now = self._clock.monotonic()
            rested = self._fetched is None or now - self._fetched >= FETCH_EVERY
            if kid not in self._keys and rested:
                self._fetched = now
                self._keys = await self._fetch()
            return self._keys.get(kid)

    def _use(self, name: str, until: float, now: float) -> None:
        """Remember that it was used, for as long as it is good."""
        self._used.mkdir(mode=0o700, exist_ok=True)
        for old in self._used.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                if old.stat().st_mtime < now:
                    old.unlink()
        mark = self._used / hashlib.sha256(f"{self._where} {name}".encode()).hexdigest()
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise Refused(
                f"{self._where}: that console token was used before",
                reason="token-used",
                fix="Ask the cluster for a new one: each opens a console once",
            ) from None
        os.utime(mark, (until, until))

    def _unknown(self) -> NotFound:
        return NotFound(
            f"{self._where} made no such console token for this broker",
            fix="Ask the cluster for a new one",
        )
