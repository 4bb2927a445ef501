"""OpenStack: servers of Nova, and their SPICE servers by two calls for each viewer.

Nova makes a token that stands for a console, and tells an administrator where that is. It sets no
SPICE password and tells no certificate, so both the network between and the entry's
`spice_ca_cert` and `host_subject` count. A token keeps leading to the old port after a restart of
its server: one is made for each viewer.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self
from urllib.parse import parse_qs

from broker.driver import DriverContext
from broker.errors import NoConsole, NotFound, RightMissing, UsageError
from broker.findings import Finding, fine, odd
from broker.model import Ability, Console, Machine, MachineId, SourceName, State, TcpTarget
from sources._openstack_api import (
    SPICE_DIRECT,
    ConsoleToken,
    OpenstackApi,
    OpenstackOptions,
    RemoteConsole,
    Server,
)
from sources._remote import in_pairs, quote_part, split_url
from sources._reply import Reply
from sources.options import parse_options

PAGE: Final = 1000
"""Nova gives no more at once."""
READING: Final = "os_compute_api:os-console-auth-tokens"
NOBODYS: Final = "00000000-0000-4000-8000-000000000000"

_STATES: Final = {
    "ACTIVE": State.RUNNING,
    "RESCUE": State.RUNNING,
    "PASSWORD": State.RUNNING,
    "VERIFY_RESIZE": State.RUNNING,
    "SHUTOFF": State.STOPPED,
    "SHELVED": State.STOPPED,
    "SHELVED_OFFLOADED": State.STOPPED,
    "PAUSED": State.PAUSED,
    "SUSPENDED": State.SUSPENDED,
    "BUILD": State.STARTING,
    "REBUILD": State.BUSY,
    "REBOOT": State.BUSY,
    "HARD_REBOOT": State.BUSY,
    "RESIZE": State.BUSY,
    "REVERT_RESIZE": State.BUSY,
    "MIGRATING": State.MIGRATING,
    "ERROR": State.ERROR,
}
_GONE: Final = frozenset({"DELETED", "SOFT_DELETED"})
_ACTIONS: Final[Mapping[Ability, dict[str, object]]] = {
    Ability.START: {"os-start": None},
    Ability.SHUTDOWN: {"os-stop": None},
    Ability.REBOOT: {"reboot": {"type": "SOFT"}},
    Ability.RESET: {"reboot": {"type": "HARD"}},
    Ability.PAUSE: {"pause": None},
    Ability.RESUME: {"unpause": None},
}
_AFTERWARDS: Final = {
    Ability.START: State.RUNNING,
    Ability.SHUTDOWN: State.STOPPED,
    Ability.PAUSE: State.PAUSED,
    Ability.RESUME: State.RUNNING,
}


class OpenstackDriver(OpenstackApi):
    """The servers of a cloud's region."""

    type: ClassVar[str] = "openstack"
    options_model = OpenstackOptions

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `broker.driver.Driver`."""
        read = parse_options(OpenstackOptions, name, cls.type, options)
        in_pairs(
            f"sources.yaml: {name}",
            dict(read),
            ("application_credential_id", "application_credential_secret"),
            ("username", "password"),
        )
        return cls(name, read, context)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, as of the last listing."""
        if self._has_pin:
            return super().warnings
        told = f"{self.name}: consoles are reached without TLS where there is a port for that; set "
        return (*super().warnings, f"{told}`spice_ca_cert` and `host_subject`")

    # -- listing

    async def machines(self) -> Sequence[Machine]:
        """All servers that the account sees, page by page; of all projects where it may."""
        found: list[Machine] = []
        marker = ""
        while True:
            reply = await self._page(marker)
            machines, marker = await asyncio.to_thread(self._read_page, reply, marker)
            found += machines
            if not marker:
                return self._once_each(found)

    async def _page(self, marker: str) -> Reply:
        params: dict[str, str | int] = {"limit": PAGE} | ({"marker": marker} if marker else {})
        if self.options.all_projects and "projects" not in self._short:
            reply = await self._ask("GET", "/servers/detail", params={**params, "all_tenants": 1})
            if reply.status != 403:
                return self._fine(reply)
            self._short["projects"] = (
                f"{self.name}: {self._who} may list the servers of its own project only; set "
                "`all_projects: false`, or give it the role for more"
            )
        return self._fine(await self._ask("GET", "/servers/detail", params=params))

    def _read_page(self, reply: Reply, marker: str) -> tuple[list[Machine], str]:
        """Its machines, and where the next page begins; empty when there is none.

        The link to it is not followed: it may lead where our token has nothing to do.
        """
        servers = reply.rows(Server, "servers", make=lambda row: row)
        links = reply.dig(reply.json(), "servers_links") or ()
        more = any(isinstance(one, dict) and one.get("rel") == "next" for one in links)
        following = servers[-1].id if more and servers else ""
        if more and following in ("", marker):
            raise reply.odd("servers_links")
        return [self._machine(one) for one in servers if one.status not in _GONE], following

    async def machine(self, machine_id: MachineId) -> Machine:
        """One server as it is now."""
        return self._machine(await self._server(machine_id))

    async def _server(self, machine_id: str) -> Server:
        reply = await self._ask("GET", f"/servers/{quote_part(machine_id)}")
        return self._fine(reply, name=machine_id).read(Server, "server")

    def _machine(self, server: Server) -> Machine:
        state = _STATES.get(server.status, State.UNKNOWN)
        if server.task_state == "migrating":
            state = State.MIGRATING
        return Machine(
            self._key(server.id), server.name or server.id, state, hypervisor=server.host or ""
        )

    # -- a console

    async def console(self, machine_id: MachineId) -> Console:
        """Where its SPICE server is now; Nova sets no password there.

        Raises:
            NotFound: No such server.
            NoConsole: It is off, or Nova has no SPICE for it.
            RightMissing: We may not make consoles, or not read where they are.
        """
        name = machine_id
        await self.http.sign_in()
        if await self._negotiated() < SPICE_DIRECT:
            raise NoConsole(self._short["version"], fix="Bring OpenStack up to 2025.1 or later")
        found = await self._read_token(await self._make_token(name))
        self._see_that_it_is_elsewhere(found)
        tls = found.tls_port is not None and (self._has_pin or found.port is None)
        ca = self.options.spice_ca_cert
        return Console(
            TcpTarget(
                host=found.host,
                port=None if tls else found.port,
                tls_port=found.tls_port if tls else None,
                ca_pem=await asyncio.to_thread(self._reader.ca, ca, "spice_ca_cert"),
                host_subject=await self._subject(name) if tls else None,
            )
        )

    async def machine_of_token(self, token: str) -> MachineId:
        """The server that a console token of Nova's was made for.

        Raises:
            NotFound: It has ended, or is none of this cloud's.
        """
        return MachineId((await self._read_token(self.http.hide(token))).instance_uuid.lower())

    @property
    def _has_pin(self) -> bool:
        return bool(self.options.spice_ca_cert or self.options.host_subject)

    async def _make_token(self, machine_id: str) -> str:
        reply = await self._ask(
            "POST",
            f"/servers/{quote_part(machine_id)}/remote-consoles",
            json={"remote_console": {"protocol": "spice", "type": "spice-direct"}},
        )
        if reply.status in (400, 409):
            state = (await self.machine(MachineId(machine_id))).state
            raise NoConsole(
                f"Nova has no SPICE console for {machine_id}, which is {state.value} "
                f"({self._words(reply)})",
                fix="Start it"
                if state is State.STOPPED
                else "See that [spice] is enabled in nova.conf of its compute node",
            )
        right = "os_compute_api:os-remote-consoles"
        url = self._fine(reply, name=machine_id, right=right).read(RemoteConsole, "remote_console")
        parts = split_url(url.url)
        tokens = parse_qs(parts.query).get("token", []) if parts else []
        if len(tokens) != 1:
            raise reply.odd("remote_console", "url")
        return self.http.hide(tokens[0])

    async def _read_token(self, token: str) -> ConsoleToken:
        path = "/os-console-auth-tokens/"
        reply = await self._ask("GET", path + quote_part(token), secret_path=f"{path}…")
        if reply.status == 404:
            raise NotFound(
                f"{reply.where} does not know that console token any more",
                fix="Ask for a new one; it is good for ten minutes",
            )
        try:
            return self._fine(reply, right=READING).read(ConsoleToken, "console")
        except RightMissing as problem:
            self._short["tokens"] = problem.what
            raise

    async def _subject(self, machine_id: str) -> str | None:
        template = self.options.host_subject
        if template is None or "{hypervisor}" not in template:
            return template
        host = (await self._server(machine_id)).host
        if not host:
            raise RightMissing(
                f"{self.name}: {self._who} is not told which node a server is on, which "
                "`host_subject` needs",
                right="os_compute_api:os-extended-server-attributes",
                fix="Give it an administrator's role",
            )
        return template.replace("{hypervisor}", host.replace("\\", "\\\\").replace(",", "\\,"))

    def _see_that_it_is_elsewhere(self, found: ConsoleToken) -> None:
        """Nova's default is the loopback of the compute node, which is ours when we dial it."""
        try:
            address = ipaddress.ip_address(found.host)
        except ValueError:
            return
        if address.is_loopback and self.dial_policy().refusal(found.host, found.port or 5900):
            raise NoConsole(
                f"Nova says that the console is at {found.host}",
                fix="Set [spice] server_proxyclient_address in nova.conf of the compute node to an "
                "address that is reached from here",
            )

    # -- power

    def abilities(self) -> Mapping[Ability, str]:
        """See `broker.hypervisor.Offering`."""
        cut = "Nova cuts the power only where a shutdown takes too long"
        return {**super().abilities(), Ability.STOP: cut}

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        """Have Nova switch a server; see `broker.hypervisor.Switching`."""
        if (action := _ACTIONS.get(ability)) is None:
            raise UsageError(f"{self.product} cannot {ability.value} a machine", fix="Shut it down")
        path = f"/servers/{quote_part(machine_id)}/action"
        try:
            reply = await self._ask("POST", path, json=action)
            if reply.status != 409:
                self._fine(reply, name=machine_id, right=f"servers:{next(iter(action))}")
        except RightMissing as problem:
            raise self._lacks(ability, problem) from None
        if reply.status == 409:
            wanted = _AFTERWARDS.get(ability)
            if wanted is not None and (await self.machine(machine_id)).state is wanted:
                return
            raise UsageError(self._words(reply) or "The server is not in a state for that")

    async def _rights(self) -> Finding:
        """Whether we may read console tokens: one that nobody has is not found, or not shown."""
        try:
            await self._read_token(NOBODYS)
        except NotFound:
            return fine(f"{self._who} may read console tokens")
        except RightMissing as problem:
            return odd(problem.what, problem.fix)
        return fine(f"{self._who} has the roles {', '.join(self._roles)}")
