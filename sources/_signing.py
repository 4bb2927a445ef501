"""How a driver is let in: a token got once for all who wait for it, and renewed in time.

Credentials that were refused are left alone for a minute, because accounts are locked after a few
failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.errors import SourceDenied

DENIED_SECONDS: Final = 60.0
"""For how long refused credentials are not shown again."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request carries to be let in.

    Attributes:
        headers: Of every request.
        writing: Of all but GET, beside those.
        until: When it is to be renewed, by the clock that never jumps; None for never.
    """

    headers: Mapping[str, str] = field(repr=False)
    writing: Mapping[str, str] = field(default_factory=dict, repr=False)
    until: float | None = None

    def carried(self, method: str) -> dict[str, str]:
        """The headers for a request by that method."""
        return {**self.headers, **({} if method == "GET" else self.writing)}


SignIn = Callable[[], Awaitable[Signed]]
"""Gets a token.

Raises:
    SourceDenied: The credentials are refused.
    SourceUnreachable: Nobody says whether they are.
"""


class Signing:
    """Keeps the token of one client.

    Args:
        sign_in: Gets one.
    """

    def __init__(self, sign_in: SignIn, clock: Clock) -> None:
        self._sign_in = sign_in
        self._clock = clock
        self._signed: Signed | None = None
        self._turn = asyncio.Lock()
        self._denied: tuple[float, SourceDenied] | None = None

    async def token(self, instead_of: Signed | None = None) -> Signed:
        """What is good now; got once, however many wait for it.

        Args:
            instead_of: One that turned out to be no good any more.

        Raises:
            SourceDenied: The credentials are refused, or were a moment ago.
            SourceUnreachable: Nobody says whether they are.
        """
        async with self._turn:
            known = self._signed
            if known is not None and known is not instead_of and not self._is_old(known):
                return known
            self._be_patient_after_no()
            self._signed = None
            try:
                self._signed = signed = await self._sign_in()
            except SourceDenied as no:
                raise self.refused(no) from None
            return signed

    def refused(self, no: SourceDenied) -> SourceDenied:
        """Remember that the credentials are no good; the same error, to be raised."""
        self._signed = None
        self._denied = (self._clock.monotonic() + DENIED_SECONDS, no)
        return no

    def _is_old(self, signed: Signed) -> bool:
        return signed.until is not None and self._clock.monotonic() >= signed.until

    def _be_patient_after_no(self) -> None:
        if self._denied is None:
            return
        until, no = self._denied
        left = until - self._clock.monotonic()
        if left > 0:
            raise SourceDenied(
                f"{no.what}; not tried again for {left:.0f} s, so as not to lock the account",
                fix=no.fix,
            )
        self._denied = None
