"""oVirt's API: its rows, its login and its faults.

In its JSON most numbers and all booleans are text, an empty collection is `{}`, and what is absent
is left out. A wrong password answers 400. Source: oVirt engine 4.5, restapi and aaa.
"""

from __future__ import annotations

import contextlib
import shlex
from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field, field_validator

from broker.driver import DriverContext
from broker.errors import (
    BrokerError,
    NoConsole,
    Refused,
    RightMissing,
    SourceDenied,
    UsageError,
)
from broker.human import one_line
from broker.model import SourceName
from broker.within import within
from sources._http import Http
from sources._remote import RemoteDriver, RemoteOptions, split_url
from sources._reply import Reply, Row
from sources._signing import Signed
from sources.options import CaSource, MaybeText, Secret, Text

SCOPE: Final = "ovirt-app-api"
LOGOUT_SECONDS: Final = 3.0


def _none_below_one(value: object) -> object:
    """A port of -1, number or text, is none."""
    return None if str(value) in ("-1", "0", "") else value


Port = Annotated[int | None, BeforeValidator(_none_below_one)]


class OvirtOptions(RemoteOptions):
    """An entry of sources.yaml with `type: ovirt`."""

    username: Text
    """Account with its profile: `admin@internal`, `admin@ovirt@internalsso`, `broker@ldap`."""
    password: Secret
    """Its password."""
    filter: bool = False
    """Whether the account has no administrator role, and so sees its own VMs only."""
    spice_ca_cert: CaSource = None
    """CA of the hosts' SPICE certificates, PEM text or path; as the engine says when not given."""
    spice_proxy: MaybeText = None
    """An HTTP proxy on the way to the hosts, `http://host:port`."""
    ticket_seconds: Annotated[int, Field(ge=30, le=7200)] = 120
    """For how long the password of a session is good for opening channels."""

    @field_validator("spice_proxy")
    @classmethod
    def _is_a_proxy(cls, found: str | None) -> str | None:
        parts = split_url(found or "http://none:1")
        if parts is None or parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError("has a spice_proxy that is not http://HOST:PORT")
        if parts.username or parts.path.strip("/") or parts.query:
            raise ValueError("has a spice_proxy with more in it than host and port")
        return found


class Certificate(Row):
    """Of a host's SPICE server."""

    subject: str = ""
    content: str = ""


class Display(Row):
    """What a VM is set to, and on engines before 4.4.7 where it is."""

    type: str = ""
    address: str = ""
    port: Port = None
    secure_port: Port = None
    certificate: Certificate = Certificate()


class GraphicsConsole(Row):
    """One way to its screen; the id is the protocol's name in hexadecimal."""

    id: str
    protocol: str
    address: str = ""
    port: Port = None
    tls_port: Port = None


class GraphicsConsoles(Row):
    """An empty collection has no key."""

    graphics_console: tuple[GraphicsConsole, ...] = ()


class Vm(Row):
    """A machine."""

    id: str
    name: str = ""
    status: str = "unknown"
    display: Display = Display()
    graphics_consoles: GraphicsConsoles = GraphicsConsoles()


class Ticket(Row):
    """What opens a screen."""

    value: str
    expiry: int = 0


class _Token(Row):
    access_token: str


class OvirtApi(RemoteDriver[OvirtOptions]):
    """A client of it, with its login and its faults."""

    product: ClassVar[str] = "oVirt"

    def __init__(self, name: SourceName, options: OvirtOptions, context: DriverContext) -> None:
        super().__init__(name, options, context)
        self._token = ""
        self.http = Http(
            self.product,
            options.url.removesuffix("/ovirt-engine") + "/ovirt-engine",
            source=name,
            trust=lambda: self._reader.ca(options.ca_cert, "ca_cert"),
            seconds=options.timeout,
            sign_in=self._sign_in,
            clock=context.clock,
        )

    async def aclose(self) -> None:
        """End our session at the engine, if it listens, and every connection."""
        if self._token:
            form = {"scope": SCOPE, "token": self._token}
            with contextlib.suppress(BrokerError, TimeoutError):
                async with within(LOGOUT_SECONDS):
                    await self.http.post("/services/sso-logout", form=form, signed=False)
        await super().aclose()

    async def _sign_in(self) -> Signed:
        options = self.options
        form = {
            "grant_type": "password",
            "scope": SCOPE,
            "username": options.username,
            "password": await self._secret(options.password),
        }
        reply = await self.http.post("/sso/oauth/token", form=form, signed=False)
        if reply.status in (400, 401):
            raise SourceDenied(
                f"{self.http.where} refuses the user {options.username}{self._because(reply)}",
                fix="Check `username`, with its profile, and `password`",
            )
        self._token = self.http.hide(self._fine(reply).read(_Token).access_token)
        headers = {"Authorization": f"Bearer {self._token}", "Version": "4"}
        return Signed(headers | ({"Filter": "true"} if options.filter else {}))

    def _because(self, reply: Reply) -> str:
        words = self._words(reply)
        return f" ({words})" if words else ""

    def _words(self, reply: Reply) -> str:
        """What a fault says, wherever in the answer it stands."""
        found = reply.told()
        fault = found.get("fault", found)
        fault = fault if isinstance(fault, dict) else found
        for key in ("detail", "error_description", "reason", "error"):
            if isinstance(fault.get(key), str) and fault[key]:
                return self.http.spoken(str(fault[key]).strip("[]"))
        return ""

    def _fine(self, reply: Reply, *, name: str = "", right: str = "") -> Reply:
        """The reply, when it is no refusal.

        Args:
            name: Of the machine that it is about.
            right: What it takes, in oVirt's words.

        Raises:
            BrokerError: It is one; which, depends on its status and words.
        """
        if reply.is_fine and not _has_failed(reply):
            return reply
        words = self._words(reply)
        shown = one_line(name) or "the machine"
        if reply.status == 403:
            raise RightMissing(
                f"{self.http.where} does not let {self.options.username} do that"
                f"{self._because(reply)}" + (f": {right} is missing" if right else ""),
                right=right or words,
                fix="Give it the role UserRole or UserVmManager on the VMs; without an "
                "administrator role, set `filter: true`",
            )
        if reply.status == 404 and name:
            raise self._missing(shown)
        if "in use by another user" in words:
            raise Refused(f"{shown}: {words}", reason="busy", fix="Wait until they have left")
        if "not running" in words.lower():
            start = f"broker vm start {shlex.quote(shown)}"
            raise NoConsole(f"{shown} is not running", fix=f"Start it: {start}")
        if reply.status == 409 or reply.is_fine:
            raise UsageError(f"{shown}: {words or 'not in its present state'}")
        raise reply.unexpected(words)


def _has_failed(reply: Reply) -> bool:
    """Whether an action was taken up and failed. A list is not parsed for that: it may be long."""
    if b'"failed"' not in reply.body or b'"fault"' not in reply.body:
        return False
    found = reply.told()  # a machine may be called so
    return found.get("status") == "failed" and "fault" in found
