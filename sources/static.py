"""The static source: consoles written down in sources.yaml, for servers nobody else lists.

Field names are kerbside's, so its entries work unchanged. Files that entries name are read at
each listing, so that a changed ticket file counts without touching sources.yaml. No error and no
representation here ever holds a ticket.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker import human
from broker.driver import DriverContext
from broker.errors import ConfigError, NotFound
from broker.model import (
    Console,
    Machine,
    MachineId,
    MachineKey,
    SourceName,
    State,
    Target,
    TcpTarget,
    UnixTarget,
)
from broker.typed_path import expanded
from sources.options import MaybePort, MaybeText, Text, options_schema
from sources.reading import certificates, read_text, secret_file, variable
from sources.vetting import problems_of

TICKET_MAX = 59
"""Characters that spice-server keeps of a password."""

_FIXES = {
    "ticket": "Add `ticket`, `ticket_file` or `ticket_env`; `ticket: null` where none is asked for",
    "port": "Add `insecure_port`, `secure_port` or both; or `unix_path`",
}


_PROXY = re.compile(r"http://(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+):([0-9]{1,5})/?")
"""Without a name and password: those would lie in the database unsealed."""


class ConsoleOptions(BaseModel):
    """One console as written down."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    uuid: Text
    """Its id, unique in this source; small and capital letters are the same."""
    name: Text
    """What people call it."""
    hypervisor: str = ""
    """Name of the host it runs on."""
    hypervisor_ip: str = ""
    """Address of that host; where the ports below are."""
    insecure_port: MaybePort = None
    """TCP port of the SPICE server without TLS."""
    secure_port: MaybePort = None
    """TCP port of the SPICE server with TLS."""
    unix_path: MaybeText = None
    """Unix socket of a SPICE server on this host, instead of ports."""
    proxy: MaybeText = None
    """HTTP proxy on the way to the ports, `http://host:port`; it is asked by CONNECT."""
    host_subject: MaybeText = None
    """Subject its certificate must have, `C=…,O=…,CN=…`; without it the certificate must be good
    for `hypervisor_ip`."""
    ca_cert: MaybeText = Field(default=None, repr=False)
    """CA to trust for TLS: PEM text, or a file's path, relative to sources.yaml."""
    ticket: str | None = Field(default=None, repr=False, json_schema_extra={"writeOnly": True})
    """The SPICE password; null when the server asks for none."""
    ticket_file: MaybeText = None
    """A file that holds the SPICE password, relative to sources.yaml."""
    ticket_env: MaybeText = None
    """An environment variable that holds the SPICE password."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A console with everything read that its entry names."""

    machine: Machine
    target: Target
    ticket: str | None = field(repr=False)


class StaticDriver:
    """Consoles of sources.yaml. Its consoles are kept in the store, tickets sealed."""

    type: ClassVar[str] = "static"

    def __init__(
        self, name: SourceName, consoles: Sequence[ConsoleOptions], context: DriverContext
    ) -> None:
        self._name = name
        self._context = context
        self._consoles = {console.uuid.lower(): console for console in consoles}
        self._duplicates = tuple(_duplicates(name, consoles))
        self._odd: tuple[str, ...] = ()
        self._resolved: dict[MachineId, _Resolved] = {}

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `broker.driver.Driver`.

        Raises:
            ConfigError: An option is unknown, missing or of the wrong type, or a file or variable
                that it names cannot be read.
        """
        for option in options:
            if option != "consoles":
                raise ConfigError(
                    f"sources.yaml: {name}: {human.one_line(option)} is not a setting of a static "
                    "source",
                    fix=human.did_you_mean(option, ["consoles"]) or "There is: consoles",
                )
        listed = options.get("consoles")
        if not isinstance(listed, list | tuple):
            raise ConfigError(
                f"sources.yaml: {name}: consoles is not a list"
                if "consoles" in options
                else f"sources.yaml: {name}: consoles is missing",
                fix="Add `consoles:` and below it an entry for each; `consoles: []` for none yet",
            )
        consoles = [_parse(name, number, one) for number, one in enumerate(listed, start=1)]
        driver = cls(name, consoles, context)
        driver._resolve()
        return driver

    @classmethod
    def options_schema(cls) -> Mapping[str, object]:
        """JSON Schema of its entry; see `broker.hypervisor.Described`."""
        console = options_schema(ConsoleOptions)
        told = "What it lists; of the three tickets exactly one, and a port or `unix_path`."
        listed = {"type": "array", "items": console, "description": told}
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {"consoles": listed},
            "required": ["consoles"],
        }

    @classmethod
    def option_problems(cls, options: Mapping[str, object]) -> Mapping[str, str]:
        """See `broker.hypervisor.Vetting`."""
        listed = options.get("consoles")
        return {
            f"consoles.{place}.{key}".rstrip("."): text
            for place, one in enumerate(listed if isinstance(listed, list) else ())
            for key, text in _problems_of(one).items()
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, as of the last listing."""
        return self._duplicates + self._odd

    async def machines(self) -> Sequence[Machine]:
        """All consoles, as machines in an unknown state.

        Raises:
            ConfigError: A file or variable that an entry names cannot be read.
        """
        await asyncio.to_thread(self._resolve)
        return [console.machine for console in self._resolved.values()]

    def dial_policy(self) -> None:
        """Anywhere: a person wrote each of them down."""

    async def console(self, machine_id: MachineId) -> Console:
        """Where it is, as written down.

        Raises:
            NotFound: No such console.
        """
        found = self._resolved.get(MachineId(machine_id.lower()))
        if found is None:
            raise NotFound(
                f"{self._name} has no console {human.one_line(machine_id)}",
                fix="See: broker list",
            )
        return Console(target=found.target, ticket=found.ticket)

    def kept_tickets(self) -> Mapping[MachineId, str]:
        """Tickets of the consoles last listed."""
        return {
            uuid: console.ticket
            for uuid, console in self._resolved.items()
            if console.ticket is not None
        }

    async def aclose(self) -> None:
        """Nothing to give back."""

    def _resolve(self) -> None:
        """Read what entries name; keeps what was read before when that fails."""
        odd: list[str] = []
        resolved: dict[MachineId, _Resolved] = {}
        for uuid, console in self._consoles.items():
            where = f"sources.yaml: {self._name}: {human.one_line(console.name)}"
            ticket = self._ticket(console, where, odd)
            target = self._target(console, where)
            if console.ca_cert is not None and console.secure_port is None:
                odd.append(f"{where}: ca_cert does nothing without secure_port")
            if ticket is not None and len(ticket.encode()) > TICKET_MAX:
                odd.append(f"{where}: its ticket is longer than the {TICKET_MAX} bytes SPICE keeps")
            machine = Machine(
                key=MachineKey(self._name, MachineId(uuid)),
                name=console.name,
                state=State.UNKNOWN,
                hypervisor=console.hypervisor or "localhost",
                hypervisor_ip=console.hypervisor_ip,
                target=target,
            )
            resolved[MachineId(uuid)] = _Resolved(machine, target, ticket)
        self._resolved, self._odd = resolved, tuple(odd)

    def _ticket(self, console: ConsoleOptions, where: str, odd: list[str]) -> str | None:
        if console.ticket_env is not None:
            return variable(console.ticket_env, where, "ticket_env")
        if console.ticket_file is not None:
            path = self._path(console.ticket_file)
            ticket, exposed = secret_file(path, where, "ticket_file")
            odd.extend([exposed] if exposed else ())
            return ticket
        return console.ticket

    def _target(self, console: ConsoleOptions, where: str) -> Target:
        if console.unix_path is not None:
            return UnixTarget(str(self._path(console.unix_path)))
        ca = console.ca_cert
        if ca is not None:
            text = ca if "-----BEGIN" in ca else read_text(self._path(ca), where, "ca_cert")
            ca = certificates(text, where, "ca_cert")
        return TcpTarget(
            host=console.hypervisor_ip,
            port=console.insecure_port,
            tls_port=console.secure_port,
            ca_pem=ca,
            host_subject=console.host_subject,
            proxy=console.proxy,
        )

    def _path(self, text: str) -> Path:
        return self._context.config_dir / expanded(text)


def _parse(source: SourceName, number: int, found: object) -> ConsoleOptions:
    """One entry of `consoles`, checked in itself."""
    where = f"sources.yaml: {source}: console {number}"
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where} is not an entry", fix="Begin it with `- uuid: …`")
    name = found.get("name")
    if isinstance(name, str) and name:
        where += f" ({human.one_line(name)})"
    try:
        console = ConsoleOptions.model_validate(dict(found))
    except ValidationError as exc:
        raise _problem(where, exc) from None
    _check(where, console, found)
    return console


def _check(where: str, console: ConsoleOptions, found: Mapping[str, object]) -> None:
    """What must be there together, and what must not."""
    tickets = [key for key in ("ticket", "ticket_file", "ticket_env") if key in found]
    if len(tickets) > 1:
        raise ConfigError(f"{where} has {' and '.join(tickets)}", fix="Keep one of them")
    if not tickets or getattr(console, tickets[0]) == "":
        what = f"its {tickets[0]} is empty" if tickets else "its ticket is missing"
        raise ConfigError(f"{where}: {what}", fix=_FIXES["ticket"])
    if tickets[0] != "ticket" and getattr(console, tickets[0]) is None:
        raise ConfigError(f"{where}: its {tickets[0]} is empty", fix=_FIXES["ticket"])
    if console.proxy is not None and not _is_proxy(console.proxy):
        raise ConfigError(
            f"{where}: its proxy is not http://host:port", fix="Write `proxy: http://host:3128`"
        )
    ports = console.insecure_port is not None or console.secure_port is not None
    if console.unix_path is not None:
        if ports:
            raise ConfigError(
                f"{where} has unix_path and a port", fix="Keep the one it is to be reached by"
            )
        return
    for key in ("hypervisor", "hypervisor_ip"):
        if not getattr(console, key):
            raise ConfigError(f"{where}: its {key} is missing", fix=f"Add `{key}: …`")
    if not ports:
        raise ConfigError(f"{where} says no port", fix=_FIXES["port"])


def _is_proxy(text: str) -> bool:
    found = _PROXY.fullmatch(text)
    return found is not None and 0 < int(found[1]) < 65536


def _problems_of(found: object) -> Mapping[str, str]:
    """What is wrong with one of `consoles`, option by option; `""` is the console as a whole."""
    if not isinstance(found, Mapping):
        return {"": "is not an entry. Begin it with `- uuid: …`"}
    return problems_of(ConsoleOptions, found) or _together(found)


def _together(found: Mapping[str, object]) -> Mapping[str, str]:
    """What is missing beside the rest of a console, or too much."""
    try:
        _check("", ConsoleOptions.model_validate(dict(found)), found)
    except ConfigError as problem:
        said = problem.what.removeprefix(":").strip()
        key = re.match(r"its (\w+) (is .*)", said)
        if key is not None:
            return {key[1]: f"{key[2]}. {problem.fix}"}
        return {"proxy" if said.startswith("its proxy") else "": f"{said}. {problem.fix}"}
    return {}


def _problem(where: str, exc: ValidationError) -> ConfigError:
    """Pydantic's first complaint in our words; a value is shown only when it is a number."""
    error: Any = exc.errors(include_url=False)[0]
    key = str(error["loc"][0])
    shown = str(error["input"])
    match error["type"]:
        case "extra_forbidden":
            return ConfigError(
                f"{where}: {human.one_line(key)} is not a setting",
                fix=human.did_you_mean(key, ConsoleOptions.model_fields)
                or f"There are: {', '.join(ConsoleOptions.model_fields)}",
            )
        case "missing" | "string_too_short":
            return ConfigError(f"{where}: its {key} is missing", fix=f"Add `{key}: …`")
        case "greater_than_equal" | "less_than_equal":
            return ConfigError(f"{where}: {key} is {shown}; ports go from 1 to 65535")
        case kind if kind.startswith("int"):
            return ConfigError(
                f"{where}: {key} is not a number", fix="Write a port, such as `5900`"
            )
        case _:
            return ConfigError(
                f"{where}: {key} is not text", fix=f"Write `{key}: …` on one line, in quotes if odd"
            )


def _duplicates(source: SourceName, consoles: Iterable[ConsoleOptions]) -> Iterable[str]:
    """A sentence for each uuid that stands again, naming both."""
    seen: dict[str, str] = {}
    for console in consoles:
        uuid, name = console.uuid.lower(), human.one_line(console.name)
        if uuid in seen:
            yield (
                f"sources.yaml: {source}: {seen[uuid]} and {name} have the same uuid "
                f"{human.one_line(uuid)}; the last one, {name}, counts"
            )
        seen[uuid] = name
