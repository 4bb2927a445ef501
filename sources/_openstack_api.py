"""OpenStack's Keystone and Nova: logging in, finding Nova, its versions, its rows and its errors.

Source: Keystone 30.0.0 and Nova 34.0.0, tried.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AliasChoices, AwareDatetime, Field

from broker.driver import DriverContext
from broker.errors import RightMissing, SourceDenied, SourceUnreachable
from broker.model import SourceName
from sources._http import Http
from sources._remote import RemoteDriver, RemoteOptions
from sources._reply import Reply, Row
from sources._signing import Signed
from sources.options import CaSource, MaybeText, Secret

SPICE_DIRECT: Final = (2, 99)
"""The first version of Nova's API that tells where a SPICE server is (2025.1)."""
RENEW_BEFORE: Final = 300.0
"""Seconds before its end that a token is got anew."""
_ADMIN_FIX: Final = (
    "Give it the role, or have the cloud's policy allow it: see docs/sources/openstack.md"
)


class OpenstackOptions(RemoteOptions):
    """An entry of sources.yaml with `type: openstack`; `url` is that of Keystone."""

    username: MaybeText = None
    """User, where there is no application credential."""
    password: Secret | None = None
    """That user's password."""
    project: str = "admin"
    """Project to log in to, for a user."""
    user_domain: str = "Default"
    """Name of the user's domain."""
    project_domain: str = "Default"
    """Name of the project's domain."""
    application_credential_id: MaybeText = None
    """Application credential, which can be revoked and limited."""
    application_credential_secret: Secret | None = None
    """Its secret."""
    region: MaybeText = None
    """Region whose Nova is asked; the first of the catalog when not given."""
    interface: Literal["public", "internal", "admin"] = "public"
    """Which of Nova's addresses is used."""
    all_projects: bool = True
    """Whether servers of all projects are listed, as far as the account may."""
    spice_ca_cert: CaSource = None
    """CA of the compute nodes' SPICE certificates, PEM text or a path; Nova does not tell it."""
    host_subject: MaybeText = None
    """Subject of those certificates, `{hypervisor}` standing for the node: `CN={hypervisor}`."""


class Server(Row):
    """A server; the host only for administrators."""

    id: str
    name: str = ""
    status: str = "UNKNOWN"
    task_state: Annotated[str | None, Field(validation_alias="OS-EXT-STS:task_state")] = None
    host: Annotated[
        str | None,
        Field(
            validation_alias=AliasChoices(
                "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname"
            )
        ),
    ] = None


class RemoteConsole(Row):
    """Of its URL only the token is of use."""

    url: str


class ConsoleToken(Row):
    """Where a token leads."""

    instance_uuid: str
    host: str
    port: int | None = None
    tls_port: int | None = None


class _Endpoint(Row):
    interface: str = ""
    region: str | None = None
    region_id: str | None = None
    url: str = ""


class _Service(Row):
    type: str = ""
    endpoints: tuple[_Endpoint, ...] = ()


class _Role(Row):
    name: str = ""


class _Token(Row):
    expires_at: AwareDatetime
    roles: tuple[_Role, ...] = ()
    catalog: tuple[_Service, ...] = ()


class _Version(Row):
    id: str = ""
    version: str = ""


class OpenstackApi(RemoteDriver[OpenstackOptions]):
    """A client of both, with its login and its errors."""

    product: ClassVar[str] = "OpenStack"

    def __init__(self, name: SourceName, options: OpenstackOptions, context: DriverContext) -> None:
        super().__init__(name, options, context)
        self._nova = ""
        self._roles: tuple[str, ...] = ()
        self._version: tuple[int, int] | None = None
        self.http = Http(
            self.product,
            options.url.removesuffix("/v3"),
            source=name,
            trust=lambda: self._reader.ca(options.ca_cert, "ca_cert"),
            seconds=options.timeout,
            sign_in=self._sign_in,
            narrow=options.application_credential_id is not None,
            clock=context.clock,
        )

    # -- Keystone

    async def _sign_in(self) -> Signed:
        reply = await self.http.post("/v3/auth/tokens", json=await self._identity(), signed=False)
        if reply.status in (400, 401, 403):
            raise SourceDenied(
                f"{self.http.where} refuses {self._who} ({self._words(reply)})",
                fix="Check user, password, project and domains, or the application credential",
            )
        token = self._fine(reply).read(_Token, "token")
        shown = self.http.hide(reply.headers.get("x-subject-token", ""))
        if not shown:
            raise reply.odd("X-Subject-Token")
        self._nova = self._endpoint(token)
        self._roles = tuple(role.name for role in token.roles)
        life = (token.expires_at - self._clock.now()).total_seconds()
        until = self._clock.monotonic() + max(life - RENEW_BEFORE, life / 2)
        return Signed({"X-Auth-Token": shown}, until=until)

    async def _identity(self) -> dict[str, Any]:
        options = self.options
        if options.application_credential_secret is not None:
            secret = await self._secret(options.application_credential_secret)
            credential = {"id": options.application_credential_id, "secret": secret}
            method = "application_credential"
            return {"auth": {"identity": {"methods": [method], method: credential}}}
        assert options.password is not None
        user = {
            "name": options.username,
            "domain": {"name": options.user_domain},
            "password": await self._secret(options.password),
        }
        project = {"name": options.project, "domain": {"name": options.project_domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}

    def _endpoint(self, token: _Token) -> str:
        """Where Nova is, as the catalog has it.

        Raises:
            SourceUnreachable: The catalog has none of that region and interface.
        """
        options = self.options
        for service in token.catalog:
            for endpoint in service.endpoints if service.type == "compute" else ():
                regions = (None, endpoint.region, endpoint.region_id)
                if endpoint.interface == options.interface and options.region in regions:
                    return endpoint.url.rstrip("/")
        where = f" in {options.region}" if options.region else ""
        raise SourceUnreachable(
            f"{self.http.where} knows no {options.interface} address of Nova{where}",
            fix="Check `region` and `interface`: openstack catalog show nova",
        )

    # -- Nova

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str | int] | None = None,
        json: object = None,
        secret_path: str = "",
    ) -> Reply:
        """Ask Nova, in the version that it and we know."""
        await self.http.sign_in()
        tries = 0
        while True:
            tries += 1
            version = await self._negotiated()
            headers = {"OpenStack-API-Version": f"compute {version[0]}.{version[1]}"}
            more: dict[str, Any] = {"params": params, "json": json, "headers": headers}
            url = self._nova + path
            reply = await self.http.call(method, url, secret_path=secret_path, **more)
            if reply.status != 406 or tries > 1:
                return reply
            self._version = None  # another Nova answers now

    async def _negotiated(self) -> tuple[int, int]:
        """The version of Nova's API to speak: 2.99, or the highest that it knows."""
        if self._version is None:
            root, _, _ = self._nova.partition("/v2")
            reply = await self.http.get(f"{root}/", signed=False)
            found = [SPICE_DIRECT]  # behind a gate that hides the document
            if reply.is_fine and not reply.is_html:
                known = reply.rows(_Version, "versions", make=lambda row: row)
                found = [_numbers(one.version) for one in known if one.version] or [(2, 1)]
            self._version = min(max(found), SPICE_DIRECT)
            self._short.pop("version", None)
            if self._version < SPICE_DIRECT:
                self._short["version"] = (
                    f"{self.name}: Nova speaks version {_text(self._version)}; SPICE consoles need "
                    f"{_text(SPICE_DIRECT)} (OpenStack 2025.1)"
                )
        return self._version

    @property
    def _who(self) -> str:
        if self.options.username:
            return f"the user {self.options.username}"
        return "the application credential"

    def _words(self, reply: Reply) -> str:
        """What an error says: its one key names the kind."""
        for told in reply.told().values():
            if isinstance(told, dict) and isinstance(told.get("message"), str):
                return self.http.spoken(told["message"])
        return ""

    def _fine(self, reply: Reply, *, name: str = "", right: str = "") -> Reply:
        """The reply, when it is no refusal.

        Args:
            name: Of the server that it is about.
            right: The rule of Nova's policy that it takes.

        Raises:
            BrokerError: It is one; which, depends on its status.
        """
        if reply.is_fine:
            return reply
        words = self._words(reply)
        if reply.status == 403:
            raise RightMissing(
                f"{reply.where} does not let {self._who} do that: {right or words} is missing",
                right=right or words,
                fix=_ADMIN_FIX,
            )
        if reply.status == 404 and name:
            raise self._missing(name)
        raise reply.unexpected(words)


def _numbers(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (2, 1)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
