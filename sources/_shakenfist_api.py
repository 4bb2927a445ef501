"""Shaken Fist's API: its rows, its login and its errors.

Source: Shaken Fist 0.7.2, tried; what is newer, from its source.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from broker.driver import DriverContext
from broker.errors import RightMissing, SourceDenied
from broker.model import SourceName
from sources._http import Http
from sources._remote import RemoteDriver, RemoteOptions
from sources._reply import Reply, Row
from sources._signing import Signed
from sources.options import CaSource, MaybeText, Secret

SYSTEM: Final = "system"
"""The namespace that sees all others, and the nodes."""
RENEW_BEFORE: Final = 60.0
"""Seconds before its end that a token is got anew; it lives for a quarter of an hour."""


class ShakenfistOptions(RemoteOptions):
    """An entry of sources.yaml with `type: shakenfist`."""

    namespace: str = SYSTEM
    """Namespace to log in to; `system` sees the instances of all."""
    key: Secret
    """A key of that namespace."""
    addresses: dict[str, str] = Field(default_factory=dict)
    """Address of each node by its name, for a namespace that is not told them."""
    spice_ca_cert: CaSource = None
    """CA of the nodes' SPICE certificates, PEM text or a path; the cluster's when not given."""
    host_subject: MaybeText = None
    """Subject of those certificates where the cluster does not tell it: `CN={node}`."""
    token_audience: MaybeText = None
    """Address that the cluster has as `KERBSIDE_URL`, for `broker open --console-token`."""


class Video(Row):
    """Its screen."""

    vdi: str | None = None


class Instance(Row):
    """A machine; ports are empty until it is placed."""

    uuid: str
    name: str = ""
    state: str = ""
    power_state: str | None = None
    node: str | None = None
    vdi_port: int | None = None
    vdi_tls_port: int | None = None
    video: Video | None = None

    @property
    def screen(self) -> str:
        """`spice`, `spiceconcurrent`, `vnc`, or nothing."""
        return (self.video.vdi if self.video else None) or ""


class Node(Row):
    """A host; releases after 0.7 know it by more than its name."""

    name: str = ""
    uuid: str = ""
    fqdn: str = ""
    ip: str = ""
    spice_server_cert_subject: str | None = None


class SigningKey(Row):
    """What a console token is signed with."""

    kid: str
    alg: str = ""
    public_pem: str


class _Token(Row):
    access_token: str
    expires_in: float = 900.0


class ShakenfistApi(RemoteDriver[ShakenfistOptions]):
    """A client of it, with its login and its errors."""

    product: ClassVar[str] = "Shaken Fist"

    def __init__(
        self, name: SourceName, options: ShakenfistOptions, context: DriverContext
    ) -> None:
        super().__init__(name, options, context)
        self.http = Http(
            self.product,
            options.url,
            source=name,
            trust=lambda: self._reader.ca(options.ca_cert, "ca_cert"),
            seconds=options.timeout,
            sign_in=self._sign_in,
            clock=context.clock,
        )

    @property
    def _is_system(self) -> bool:
        return self.options.namespace == SYSTEM

    async def _sign_in(self) -> Signed:
        namespace = self.options.namespace
        shown = {"namespace": namespace, "key": await self._secret(self.options.key)}
        reply = await self.http.post("/auth", json=shown, signed=False)
        if reply.status in (400, 401, 404) and not reply.is_html:
            raise SourceDenied(
                f"{self.http.where} refuses the key of the namespace {namespace} "
                f"({self._words(reply)})",
                fix="Check `namespace` and `key`",
            )
        token = self._fine(reply).read(_Token)
        life = max(token.expires_in - RENEW_BEFORE, token.expires_in / 2)
        return Signed(
            {"Authorization": f"Bearer {self.http.hide(token.access_token)}"},
            until=self._clock.monotonic() + life,
        )

    def _words(self, reply: Reply) -> str:
        return self.http.spoken(str(reply.told().get("error", "")))

    def _fine(self, reply: Reply, *, name: str = "") -> Reply:
        """The reply, when it is no refusal.

        Args:
            name: Of the instance that it is about.

        Raises:
            BrokerError: It is one; which, depends on its status.
        """
        if reply.is_fine:
            return reply
        words = self._words(reply)
        if reply.status == 403:
            raise RightMissing(
                f"{reply.where} does not let the namespace {self.options.namespace} do that "
                f"({words})",
                right=words,
                fix="Use a key of the namespace that the instance is in, or of `system`",
            )
        if reply.status == 404 and name and not reply.is_html:
            raise self._missing(name)
        raise reply.unexpected(words)
