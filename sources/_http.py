"""How drivers talk to an HTTP API: one client per source, and one idea of what can go wrong.

Every wait has an end, every answer a most, no redirect is followed, no proxy of the environment
is used, and what is raised is ours and holds no secret. A 401 gets a new token once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from broker.clock import Clock, SystemClock
from broker.errors import BrokerError, RightMissing, SourceDenied, SourceUnreachable
from broker.model import SourceName
from broker.within import within
from sources._reply import Reply, spoken
from sources._signing import Signed, SignIn, Signing
from sources._trust import distrust, reason, tls_context

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 15.0
"""What a request has between two bytes unless `timeout` says otherwise; Proxmox VE takes three
seconds on purpose to say 401."""
WHOLE_TIMES: Final = 4
"""A request is given up after so many times `timeout`, however steadily it drips."""
BODY_MAX: Final = 256 * 1024 * 1024
"""Bytes of the longest answer; one VM of oVirt's, with its certificate, is 1.3 kB and more."""
CONNECTIONS: Final = 8
TRIES: Final = 3
"""How often a GET is sent that is answered with 5xx."""
WAIT_MAX: Final = 30.0
"""Seconds that a server may keep us waiting by Retry-After."""
HIDDEN_MAX: Final = 1000
"""Secrets that are kept out of errors, the latest: there is a token or two for each viewer."""

for _talker in ("httpx", "httpcore"):  # they tell addresses, headers and with them tokens
    logging.getLogger(_talker).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom we ask, and for what; without secrets."""

    where: str
    text: str


class Http:
    """A client of one API.

    Args:
        product: What people call it, `Proxmox VE`.
        url: Where it is, `https://host:port/prefix`.
        trust: Reads PEM text of the CAs to trust, in a thread; the system's where there is none.
        seconds: What a request has between two bytes.
        sign_in: Gets a token; None where requests need none.
        renews: A 401 is worth another `sign_in`.
        narrow: A token may be good for some paths only; the others answer 401.
        answers: Statuses from 500 on that are answers here, not troubles: not tried again.
        pause: Waits; a test may wait for less.
    """

    def __init__(
        self,
        product: str,
        url: str,
        *,
        source: SourceName,
        trust: Callable[[], str | None] | None = None,
        seconds: float = ANSWER_SECONDS,
        sign_in: SignIn | None = None,
        renews: bool = True,
        narrow: bool = False,
        answers: frozenset[int] = frozenset(),
        clock: Clock | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.source = source
        self.url = url.rstrip("/")
        self.clock = clock or SystemClock()
        self._product = product
        self._trust = trust
        self._opening = asyncio.Lock()
        self.seconds = seconds
        self._signing = None if sign_in is None else Signing(sign_in, self.clock)
        self._renews = renews
        self._narrow = narrow
        self._answers = answers
        self.pause = pause
        self._hidden: dict[str, None] = {}
        self._opened: httpx.AsyncClient | None = None

    @property
    def where(self) -> str:
        """The product and its address, for people."""
        return self._at(self.url)

    def _at(self, url: str) -> str:
        return f"{self._product} at {httpx.URL(url).netloc.decode('ascii', 'replace')}"

    def hide(self, secret: str) -> str:
        """Keep a secret out of every error from now on, until many others are; the secret."""
        self._hidden.pop(secret, None)
        self._hidden[secret] = None
        if len(self._hidden) > HIDDEN_MAX:
            del self._hidden[next(iter(self._hidden))]
        return secret

    def spoken(self, text: str) -> str:
        """Words of the server, fit for an error."""
        return spoken(text, self._hidden)

    async def sign_in(self) -> None:
        """Get a token now, if one is needed.

        Raises:
            SourceDenied: The credentials are refused.
            SourceUnreachable: Nobody says whether they are.
        """
        if self._signing is not None:
            await self._signing.token()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def get(self, path: str, **more: Any) -> Reply:
        """`call` with GET."""
        return await self.call("GET", path, **more)

    async def post(self, path: str, **more: Any) -> Reply:
        """`call` with POST."""
        return await self.call("POST", path, **more)

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        form: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        secret_path: str = "",
    ) -> Reply:
        """Ask, signed in; any status but 401 and those that a wait may change is returned.

        Args:
            path: Behind `url`, or a whole URL.
            signed: False asks as nobody.
            secret_path: What errors show instead of a path that holds a secret.

        Raises:
            SourceUnreachable: No answer, or an end of it that never came; another certificate; it
                stays too busy.
            SourceDenied: The credentials are refused.
        """
        url = path if "://" in path else self.url + path
        content = {"params": params, "json": json, "data": form}
        wanted = {key: value for key, value in content.items() if value is not None}
        asked = _Asked(self._at(url), f"{method} {secret_path or httpx.URL(url).path}")

        async def send(token: Signed | None) -> Reply:
            carried = {**(headers or {}), **(token.carried(method) if token else {})}
            return await self._patiently(method, url, asked, headers=carried, **wanted)

        signing = self._signing
        if not signed or signing is None:
            return await send(None)
        token = await signing.token()
        reply = await send(token)
        if reply.status == 401 and self._renews:
            reply = await send(await signing.token(instead_of=token))
        if reply.status == 401 and self._narrow:
            raise RightMissing(
                f"{reply.where} takes our credentials, but not for {reply.asked}",
                right=reply.asked,
                fix="Let the application credential's access rules allow it",
            )
        if reply.status == 401:
            raise signing.refused(
                SourceDenied(
                    f"{self.where} refuses the credentials of {self.source}"
                    f"{self._because(reply.reason)}",
                    fix="Check its user, token or password in sources.yaml",
                )
            )
        return reply

    # -- asking

    async def _patiently(self, method: str, url: str, asked: _Asked, **more: Any) -> Reply:
        """Ask again where that is harmless and may help."""
        waited = False
        attempt = 0
        while True:
            attempt += 1
            reply = await self._once(method, url, asked, **more)
            asks_for = self._retry_after(reply)
            if asks_for is not None and waited:
                raise SourceUnreachable(
                    f"{asked.where} is too busy, and asks to be left alone for {asks_for:.0f} s",
                    fix="Wait; it is asked again then",
                    retry_after=asks_for,
                )
            if asks_for is not None:
                waited = True
                attempt = 0
                await self.pause(min(asks_for, WAIT_MAX))
                continue
            trouble = reply.status >= 500 and reply.status not in self._answers
            if method != "GET" or not trouble or attempt == TRIES:
                return reply
            await self.pause(0.2 * attempt + secrets.randbelow(300) / 1000)

    def _retry_after(self, reply: Reply) -> float | None:
        """Seconds that it asks us to wait, when it is too busy."""
        said = reply.headers.get("retry-after", "")
        if reply.status not in (429, 503) or not said:
            return None
        if said.isdecimal():
            return float(said)
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, (parsedate_to_datetime(said) - self.clock.now()).total_seconds())
        return None

    async def _once(self, method: str, url: str, asked: _Asked, **more: Any) -> Reply:
        try:
            async with within(self.seconds * WHOLE_TIMES):
                return await self._read(method, url, asked, **more)
        except (httpx.TimeoutException, TimeoutError):
            raise SourceUnreachable(
                f"{asked.where} did not answer {asked.text} within {self.seconds:g} s",
                fix="Check the way to it, or raise the source's `timeout`",
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as exc:
            raise self._translated(exc, asked) from None

    async def _read(self, method: str, url: str, asked: _Asked, **more: Any) -> Reply:
        body = bytearray()
        client = await self._client()
        patience = httpx.Timeout(self.seconds, connect=CONNECT_SECONDS)
        async with client.stream(method, url, timeout=patience, **more) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > BODY_MAX:
                    raise SourceUnreachable(
                        f"{asked.where} answers {asked.text} with more than {BODY_MAX >> 20} MiB"
                    )
        headers = {name.lower(): value for name, value in response.headers.items()}
        if response.has_redirect_location:
            there = httpx.URL(url).join(headers.get("location", ""))
            raise SourceUnreachable(
                f"{asked.where} sends us elsewhere, to {there.scheme}://{there.host}",
                fix="Set `url` to where the API itself is",
            )
        return Reply(
            asked.where,
            asked.text,
            response.status_code,
            response.reason_phrase,
            headers,
            bytes(body),
        )

    async def _client(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._opened is not None:
                return self._opened
            context = await asyncio.to_thread(self._context)
            self._opened = httpx.AsyncClient(
                verify=context,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=CONNECTIONS),
                headers={"Accept": "application/json", "User-Agent": "console-broker"},
            )
            return self._opened

    def _context(self) -> ssl.SSLContext:
        return tls_context(self._trust() if self._trust else None)

    def _translated(self, exc: Exception, asked: _Asked) -> BrokerError:
        """What a person can do about it, without httpx's text: it may quote the request."""
        if (why := distrust(exc)) is not None:
            return SourceUnreachable(
                f"The certificate of {asked.where} is not to be trusted ({why})",
                fix="Set `ca_cert` to the CA that signed it, and `url` to a name that it carries",
            )
        if isinstance(exc, httpx.ConnectError):
            return SourceUnreachable(
                f"{asked.where} cannot be reached{self._because(reason(exc))}",
                fix="Check `url`, and that the service runs",
            )
        if isinstance(exc, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
            return SourceUnreachable(
                f"{asked.where} broke off in the middle of {asked.text}",
                fix="Try again; if it stays so, look at its log",
            )
        return SourceUnreachable(
            f"{asked.where} could not be asked ({type(exc).__name__})", fix="Check `url`"
        )

    def _because(self, text: str) -> str:
        words = self.spoken(text)
        return f" ({words})" if words else ""
