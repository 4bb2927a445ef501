"""Proxmox VE's API: its rows, its login, and its errors, which stand in the status line.

500 is a normal answer ("VM 100 not running"), 401 comes without a body and after three seconds.
Source: PVE::API2, PVE::APIServer::AnyEvent; tried against pveproxy 9.2.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import quote

from pydantic import field_validator

from broker.driver import DriverContext
from broker.errors import (
    BrokerError,
    NoConsole,
    RightMissing,
    SourceDenied,
    SourceUnreachable,
    UsageError,
)
from broker.model import SourceName
from sources._http import Http
from sources._remote import RemoteDriver, RemoteOptions, split_url
from sources._reply import Reply, Row
from sources._signing import Signed
from sources.options import MaybeText, Secret

LOGIN_SECONDS: Final = 7200 - 600
"""A login ticket is good for two hours; it is renewed a little before."""
AWAY: Final = frozenset({595, 596, 599})
"""Another node could not be asked."""
_RIGHT: Final = re.compile(r"\((/[^,()]*), ([A-Za-z.|]+)\)")


class ProxmoxOptions(RemoteOptions):
    """An entry of sources.yaml with `type: proxmox`."""

    token_id: MaybeText = None
    """API token, `USER@REALM!NAME`."""
    token: Secret | None = None
    """The token's secret, a uuid."""
    username: MaybeText = None
    """User with realm, `broker@pve`, where there is no API token."""
    password: Secret | None = None
    """That user's password."""
    spice_proxy: MaybeText = None
    """Host, or `host:port`, of a node whose port 3128 we reach; that of `url` when not given."""

    @field_validator("spice_proxy")
    @classmethod
    def _is_a_host(cls, found: str | None) -> str | None:
        parts = split_url(f"//{found}")
        if found and (parts is None or not parts.hostname or parts.path or parts.username):
            raise ValueError("has a spice_proxy that is no HOST or HOST:PORT")
        return found


class Guest(Row):
    vmid: int
    node: str
    type: str
    name: str = ""
    status: str = "unknown"
    template: int = 0
    lock: str = ""


class Status(Row):
    status: str = "unknown"
    qmpstatus: str = ""
    lock: str = ""
    spice: int = 0
    name: str = ""


class Spice(Row):
    host: str
    proxy: str = ""
    password: str
    ca: str
    host_subject: str
    tls_port: int

    @classmethod
    def of(cls, reply: Reply) -> Spice:
        found = reply.dig(reply.json(), "data")
        if isinstance(found, dict):
            found = {str(key).replace("-", "_"): value for key, value in found.items()}
        return reply.checked(cls, found, "data")


class Login(Row):
    ticket: str
    CSRFPreventionToken: str = ""
    NeedTFA: int = 0


class Task(Row):
    status: str
    exitstatus: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guest is: its node may change, its name on the API with it."""

    node: str
    kind: str
    name: str

    def path(self, machine_id: str, rest: str) -> str:
        return f"/nodes/{quote(self.node)}/{self.kind}/{quote(machine_id, safe='')}/{rest}"


class NoSpice(NoConsole):
    """The guest has another display."""


class ProxmoxApi(RemoteDriver[ProxmoxOptions]):
    """A client of it, with its login and its errors."""

    product: ClassVar[str] = "Proxmox VE"

    def __init__(self, name: SourceName, options: ProxmoxOptions, context: DriverContext) -> None:
        super().__init__(name, options, context)
        self.http = Http(
            self.product,
            f"{options.url}/api2/json",
            source=name,
            trust=lambda: self._reader.ca(options.ca_cert, "ca_cert"),
            seconds=options.timeout,
            sign_in=self._sign_in,
            renews=options.token is None,
            answers=frozenset({500, 501}),
            clock=context.clock,
        )

    async def _sign_in(self) -> Signed:
        options = self.options
        if options.token is not None:
            secret = await self._secret(options.token)
            return Signed({"Authorization": f"PVEAPIToken={options.token_id}={secret}"})
        assert options.password is not None
        form = {
            "username": options.username or "",
            "password": await self._secret(options.password),
        }
        reply = await self.http.post("/access/ticket", form=form, signed=False)
        if reply.status == 401:
            raise SourceDenied(
                f"{self.http.where} refuses the user {options.username} ({self._words(reply)})",
                fix="Check `username`, with its realm, and `password`",
            )
        found = self._fine(reply).read(Login, "data")
        if found.NeedTFA:
            raise SourceDenied(
                f"{options.username} needs a second factor at {self.http.where}",
                fix="Make an API token for it, and give `token_id` and `token` instead",
            )
        self.http.hide(found.ticket)
        return Signed(
            {"Cookie": f"PVEAuthCookie={quote(found.ticket, safe='')}"},
            writing={"CSRFPreventionToken": found.CSRFPreventionToken},
            until=self._clock.monotonic() + LOGIN_SECONDS,
        )

    def _words(self, reply: Reply) -> str:
        return self.http.spoken(reply.reason)

    def _fine(self, reply: Reply, machine_id: str = "", place: Place | None = None) -> Reply:
        """The reply, when it is no refusal.

        Raises:
            BrokerError: It is one; which, depends on its status and words.
        """
        if reply.is_fine:
            return reply
        raise self._problem(reply, machine_id, place)

    def _problem(self, reply: Reply, machine_id: str, place: Place | None) -> BrokerError:
        words = self._words(reply)
        name = place.name if place and place.name else f"VM {machine_id}"
        if reply.status == 403:
            found = _RIGHT.search(words)
            right = f"{found[2]} on {found[1]}" if found else words
            return RightMissing(
                f"{self.http.where} does not let {self._who} do that: {right} is missing",
                right=right,
                fix="Give it a role with VM.Audit, VM.Console and VM.PowerMgmt (for an API token "
                "with privilege separation, to the token too)",
            )
        if reply.status in AWAY:
            node = place.node if place else "a node"
            return SourceUnreachable(
                f"{self.http.where} does not reach {node} ({reply.status} {words})",
                fix="See that the node is up: pvecm status",
            )
        if "not running" in words:
            start = f"broker vm start {shlex.quote(name)}"
            return NoConsole(f"{name} is not running", fix=f"Start it: {start}")
        if "no spice port" in words.lower():
            return NoSpice(
                f"{name} has no SPICE", fix="Set its display to SPICE (qxl), then stop and start it"
            )
        if "does not exist" in words:
            return self._missing(machine_id)
        if "locked" in words:
            return UsageError(f"{name}: {words}", fix="Wait until that is over")
        return reply.unexpected(words)

    @property
    def _who(self) -> str:
        return self.options.token_id or self.options.username or "us"
