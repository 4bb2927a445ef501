"""Shaken Fist: instances and nodes in two calls, and consoles without a password.

A node's address is told to the `system` namespace only; others read the .vv file that the API
makes, which names the node, and need `addresses` where that name does not resolve here.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from broker import vv
from broker.driver import DriverContext
from broker.errors import NoConsole, RightMissing, UsageError
from broker.findings import Finding, fine, odd
from broker.model import (
    Ability,
    Console,
    Machine,
    MachineId,
    Protocol,
    SourceName,
    State,
    TcpTarget,
)
from sources._remote import quote_part
from sources._shakenfist_api import (
    Instance,
    Node,
    ShakenfistApi,
    ShakenfistOptions,
    SigningKey,
)
from sources._shakenfist_tokens import ALGORITHM, ConsoleTokens
from sources.options import parse_options

_STATES: Final = {
    "initial": State.STARTING,
    "on": State.RUNNING,
    "off": State.STOPPED,
    "paused": State.PAUSED,
    "crashed": State.CRASHED,
}
_VERBS: Final = {
    Ability.START: "poweron",
    Ability.STOP: "poweroff",
    Ability.REBOOT: "rebootsoft",
    Ability.RESET: "reboothard",
    Ability.PAUSE: "pause",
    Ability.RESUME: "unpause",
}
_AFTERWARDS: Final = {
    Ability.START: State.RUNNING,
    Ability.STOP: State.STOPPED,
    Ability.PAUSE: State.PAUSED,
    Ability.RESUME: State.RUNNING,
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a SPICE server is."""

    host: str
    port: int | None
    tls_port: int | None
    ca_pem: str | None = None
    subject: str | None = None


class ShakenfistDriver(ShakenfistApi):
    """A Shaken Fist cluster."""

    type: ClassVar[str] = "shakenfist"
    options_model = ShakenfistOptions

    def __init__(
        self, name: SourceName, options: ShakenfistOptions, context: DriverContext
    ) -> None:
        super().__init__(name, options, context)
        self._nodes: dict[str, Node] = {}
        used = context.runtime_dir / "used-tokens"
        self._console_tokens = ConsoleTokens(
            self.http.where, options.token_audience, self._signing_keys, used, context.clock
        )

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `broker.driver.Driver`."""
        return cls(name, parse_options(ShakenfistOptions, name, cls.type, options), context)

    # -- listing

    async def machines(self) -> Sequence[Machine]:
        """All instances that are there; those of every namespace for `system`."""
        if self._is_system:
            await self._read_nodes()
        reply = self._fine(await self.http.get("/instances"))
        found = await asyncio.to_thread(
            lambda: reply.rows(Instance, make=lambda row: row if row.state == "created" else None)
        )
        placed = [one.node for one in found if one.node]
        if self._is_system and placed and not any(node in self._nodes for node in placed):
            raise reply.odd("node")  # their names are of another kind than those that we know
        return self._once_each(self._machine(one) for one in found)

    async def machine(self, machine_id: MachineId) -> Machine:
        """One instance as it is now."""
        if self._is_system and not self._nodes:
            await self._read_nodes()
        return self._machine(await self._instance(machine_id))

    async def _instance(self, machine_id: str) -> Instance:
        reply = await self.http.get(f"/instances/{quote_part(machine_id)}")
        found = self._fine(reply, name=machine_id).read(Instance)
        if found.state == "deleted":
            raise self._missing(machine_id)
        return found

    async def _read_nodes(self) -> None:
        """Nodes by all that instances may call them."""
        reply = self._fine(await self.http.get("/nodes"))
        nodes = reply.rows(Node, make=lambda row: row)
        known = ((word, one) for one in nodes for word in _words_for(one))
        self._nodes = {word: one for word, one in known if word}

    def _machine(self, one: Instance) -> Machine:
        node = self._nodes.get(one.node or "")
        word = one.power_state or ""
        busy = State.BUSY if word.startswith("transition") else State.UNKNOWN
        return Machine(
            self._key(one.uuid),
            one.name or one.uuid,
            _STATES.get(word, busy),
            hypervisor=(node.name or node.fqdn) if node else one.node or "",
            hypervisor_ip=node.ip if node else "",
            protocol=_protocol(one.screen),
        )

    # -- a console

    async def console(self, machine_id: MachineId) -> Console:
        """Where its SPICE server is now; it asks for no password.

        Raises:
            NotFound: No such instance.
            NoConsole: It is off, or has no SPICE.
        """
        one = await self._instance(machine_id)
        if _protocol(one.screen) is not Protocol.SPICE:
            raise NoConsole(f"{one.name} has no SPICE", fix="Make it with `--videospec vdi=spice`")
        if one.power_state not in ("on", "paused"):
            raise NoConsole(
                f"{one.name} is {one.power_state or 'not placed yet'}",
                fix=f"Start it: broker vm start {shlex.quote(one.name)}",
            )
        place = await (self._told(one) if self._is_system else self._from_file(one))
        ca = self.options.spice_ca_cert
        ca_pem = await asyncio.to_thread(self._reader.ca, ca, "spice_ca_cert") or place.ca_pem
        tls = place.tls_port is not None and (ca_pem is not None or place.port is None)
        if not place.host or not (place.port or place.tls_port):
            raise NoConsole(f"{one.name} has no screen at present", fix="Wait until it is placed")
        return Console(
            TcpTarget(
                host=self.options.addresses.get(place.host, place.host),
                port=None if tls else place.port,
                tls_port=place.tls_port if tls else None,
                ca_pem=ca_pem if tls else None,
                host_subject=place.subject if tls else None,
            )
        )

    async def _told(self, one: Instance) -> _Place:
        """Where it is by the list of nodes."""
        if one.node not in self._nodes:
            await self._read_nodes()
        node = self._nodes.get(one.node or "")
        if node is None:
            raise NoConsole(
                f"{one.name} is on a node that is not known", fix="See: sf-client node list"
            )
        subject = node.spice_server_cert_subject or self._subject(node.name or node.fqdn)
        ca = "" if self.options.spice_ca_cert else await self._cluster_ca()
        return _Place(node.ip, one.vdi_port, one.vdi_tls_port, ca or None, subject)

    async def _from_file(self, one: Instance) -> _Place:
        """Where it is by the file for viewers, which is read here and handed to nobody."""
        path = f"/instances/{quote_part(one.uuid)}/vdiconsolehelper"
        reply = self._fine(await self.http.get(path), name=one.name)
        try:
            found = vv.parse(reply.body.decode("utf-8", "replace"))
        except UsageError:
            raise reply.odd("virt-viewer") from None
        ca = found.ca or ""
        subject = found.host_subject or self._subject(found.host or "")
        return _Place(found.host or "", found.port, found.tls_port, ca or None, subject)

    async def _cluster_ca(self) -> str:
        reply = self._fine(await self.http.get("/admin/cacert"))
        text = reply.body.decode("ascii", "replace")
        if text.lstrip().startswith('"'):
            text = str(reply.json())
        if text.strip() and "-----BEGIN" not in text:
            raise reply.odd("cacert")
        return text.strip()

    def _subject(self, node: str) -> str | None:
        template = self.options.host_subject
        escaped = node.replace("\\", "\\\\").replace(",", "\\,")
        return template.replace("{node}", escaped) if template else None

    async def machine_of_token(self, token: str) -> MachineId:
        """The instance that a console token of the cluster's was made for; it is used by that."""
        return MachineId(await self._console_tokens.instance(self.http.hide(token)))

    async def _signing_keys(self) -> Mapping[str, str]:
        reply = await self.http.get("/admin/vditokenpubkey")
        if reply.status == 404:  # it makes none, or has made none yet
            return {}
        rows = self._fine(reply).rows(SigningKey, "keys", make=lambda row: row)
        return {row.kid: row.public_pem for row in rows if row.alg in ("", ALGORITHM)}

    # -- power

    def abilities(self) -> Mapping[Ability, str]:
        """See `broker.hypervisor.Offering`."""
        deaf = "Shaken Fist cannot ask a guest to go off"
        return {**super().abilities(), Ability.SHUTDOWN: deaf}

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        """Have the cluster switch an instance; see `broker.hypervisor.Switching`."""
        verb = self._verb(_VERBS, ability)
        reply = await self.http.post(f"/instances/{quote_part(machine_id)}/{verb}")
        try:
            if reply.status in (406, 409):
                wanted = _AFTERWARDS.get(ability)
                if wanted is None or (await self.machine(machine_id)).state is not wanted:
                    raise UsageError(
                        self._words(reply) or "The instance is not in a state for that"
                    )
                return
            self._fine(reply, name=machine_id)
        except RightMissing as problem:
            raise self._lacks(ability, problem) from None

    async def _rights(self) -> Finding:
        namespace = self.options.namespace
        if self._is_system:
            return fine("system sees every namespace, and where nodes are")
        if not self.options.addresses:
            return odd(
                f"the namespace {namespace} is not told where nodes are",
                "Give `addresses` unless their names resolve here, or use a key of `system`",
            )
        return fine(f"{namespace} sees its own instances")


def _words_for(node: Node) -> Iterable[str]:
    return (node.uuid, node.fqdn, node.name)


def _protocol(screen: str) -> Protocol:
    if screen.startswith("spice"):
        return Protocol.SPICE
    return Protocol.VNC if screen == "vnc" else Protocol.NONE
