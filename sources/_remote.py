"""What drivers of HTTP APIs have in common: their options, what they are short of, their check."""

from __future__ import annotations

import abc
import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Final, Generic, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import Field, field_validator

from broker.dialing import DialPolicy
from broker.driver import DriverContext
from broker.errors import BrokerError, ConfigError, NotFound, RightMissing, UsageError
from broker.findings import Finding, Mark, Step, broken, fine, odd
from broker.human import counted, one_line
from broker.model import POWER, Ability, Machine, MachineId, MachineKey, SourceName, State
from sources._http import ANSWER_SECONDS, Http
from sources.options import CaSource, Secret, SourceOptions, Text, options_schema
from sources.reading import Reader
from sources.vetting import problems_of

NOT_LIVE: Final = frozenset({State.STOPPED, State.CRASHED, State.SHUTDOWN})
DUPLICATES_TOLD: Final = 5


class RemoteOptions(SourceOptions):
    """What the entry of every source with an HTTP API may say."""

    url: Text
    """Where its API is: `https://host:port`."""
    ca_cert: CaSource = None
    """CA of the API's certificate: PEM text or a file's path; the system's CAs when not given."""
    timeout: Annotated[float, Field(ge=5, le=300)] = ANSWER_SECONDS
    """Seconds that an answer may take."""

    @field_validator("url")
    @classmethod
    def _is_plain(cls, found: str) -> str:
        parts = split_url(found)
        if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("has a url that does not begin with https://HOST")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("has a url with more in it than scheme, host, port and path")
        return found.rstrip("/")

    @property
    def is_clear(self) -> bool:
        """Whether credentials would cross the network unencrypted."""
        return self.url.startswith("http://")


O = TypeVar("O", bound=RemoteOptions)  # noqa: E741 - the options


class RemoteDriver(abc.ABC, Generic[O]):
    """The part of a driver that no API has for itself. Its constructor does no I/O."""

    product: ClassVar[str]
    type: ClassVar[str]
    options_model: ClassVar[builtins.type[RemoteOptions]]

    def __init__(self, name: SourceName, options: O, context: DriverContext) -> None:
        self.name = name
        self.options = options
        self._clock = context.clock
        self._reader = Reader(name, context)
        self._duplicates: tuple[str, ...] = ()
        self._short: dict[str, str] = {}
        self._may_not: dict[Ability, str] = {}
        self.http: Http

    @classmethod
    def options_schema(cls) -> Mapping[str, object]:
        """JSON Schema of its entry; see `broker.hypervisor.Described`."""
        return options_schema(cls.options_model)

    @classmethod
    def option_problems(cls, options: Mapping[str, object]) -> Mapping[str, str]:
        """What is wrong with its entry; see `broker.hypervisor.Vetting`."""
        return problems_of(cls.options_model, options)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, as of the last listing."""
        clear = (
            f"{self.name}: its credentials cross the network unencrypted; use https:// in `url`",
        )
        return self._reader.warnings + self._duplicates + (clear if self.options.is_clear else ())

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What does not work at present; see `broker.hypervisor.Short`."""
        return tuple(self._short.values()) + tuple(dict.fromkeys(self._may_not.values()))

    def abilities(self) -> Mapping[Ability, str]:
        """What can be done, and why not; see `broker.hypervisor.Offering`."""
        return {ability: self._may_not.get(ability, "") for ability in POWER}

    def dial_policy(self) -> DialPolicy:
        """Where its consoles may be; see `broker.hypervisor.Dialing`."""
        return self.options.policy()

    async def check(self) -> Sequence[Step]:
        """Look into it step by step; see `broker.hypervisor.Checkable`."""
        steps: list[Step] = []
        for name, look in self._looks():
            began = self._clock.monotonic()
            try:
                finding = await look()
            except BrokerError as problem:
                finding = broken(problem.what, problem.fix)
            steps.append(Step(name, finding, self._clock.monotonic() - began))
            if finding.mark is Mark.FAIL:
                break
        return steps

    async def aclose(self) -> None:
        """Close every connection to the API."""
        await self.http.aclose()

    @abc.abstractmethod
    async def machines(self) -> Sequence[Machine]:
        """All machines; see `broker.driver.Driver`."""

    # -- for those who inherit

    def _looks(self) -> Iterable[tuple[str, Callable[[], Awaitable[Finding]]]]:
        """The steps of a check, by name, in order."""
        yield "reach", self._reach
        yield "log in", self._log_in
        yield "list", self._list
        yield "rights", self._rights

    async def _reach(self) -> Finding:
        """It answers, whatever it says, with a certificate that is to be trusted."""
        await self.http.get("/", signed=False)
        return fine(self.http.where)

    @abc.abstractmethod
    async def _rights(self) -> Finding:
        """Which rights are missing."""

    async def _log_in(self) -> Finding:
        await self.http.sign_in()
        return fine(f"{self.http.where} lets us in")

    async def _list(self) -> Finding:
        found = await self.machines()
        if not found:
            return odd("no machine is shown to us", "See that our account may see some")
        return fine(counted(len(found), "machine"))

    async def _secret(self, secret: Secret) -> str:
        """A secret, read now, and kept out of every error."""
        return self.http.hide(await asyncio.to_thread(self._reader.secret, secret))

    def _key(self, machine_id: str) -> MachineKey:
        return MachineKey(self.name, MachineId(machine_id.lower()))

    def _once_each(self, machines: Iterable[Machine]) -> list[Machine]:
        """The same, each id once: a duplicate is told, and the last one counts."""
        found: dict[MachineKey, Machine] = {}
        odd: list[str] = []
        for machine in machines:
            if (before := found.get(machine.key)) is not None:
                odd.append(
                    f"{self.name} lists {one_line(machine.key.uuid)} twice, as "
                    f"{one_line(before.name)} and {one_line(machine.name)}; the last one counts"
                )
            found[machine.key] = machine
        more = len(odd) - DUPLICATES_TOLD
        told = odd[:DUPLICATES_TOLD]
        self._duplicates = tuple(
            [*told, f"{self.name} lists {more} more ids twice"] if more > 0 else told
        )
        return list(found.values())

    def _missing(self, name: str) -> NotFound:
        return NotFound(
            f"{self.name} has no machine {one_line(name)}, or does not show it to us",
            fix="See: broker list --refresh",
        )

    def _lacks(self, ability: Ability, problem: RightMissing) -> RightMissing:
        """Remember that this may not be done here, so that faces stop offering it."""
        self._may_not[ability] = problem.what
        return problem

    def _verb(self, verbs: Mapping[Ability, str], ability: Ability) -> str:
        """What the API calls it.

        Raises:
            UsageError: It knows nothing of the kind.
        """
        if (verb := verbs.get(ability)) is None:
            raise UsageError(f"{self.product} cannot {ability.value} a machine")
        return verb


def in_pairs(where: str, given: Mapping[str, object], *pairs: tuple[str, str]) -> None:
    """See that exactly one pair of options is given, and whole.

    Raises:
        ConfigError: None is, or more than one, or half of one.
    """
    there = {key for key, value in given.items() if value is not None}
    begun = [pair for pair in pairs if there & set(pair)]
    either = ", or ".join(f"`{one}` and `{other}`" for one, other in pairs)
    if len(begun) != 1:
        raise ConfigError(
            f"{where}: says {'too much' if begun else 'nothing'} to log in with",
            fix=f"Give {either}",
        )
    for key in begun[0]:
        if key not in there:
            raise ConfigError(f"{where}: its {key} is missing", fix=f"Give {either}")


def split_url(text: str) -> SplitResult | None:
    """A URL's parts, its port a number; None when it is none. What it is stays untold."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts


def quote_part(text: str) -> str:
    """Text as one part of a path: what a source calls a machine might hold anything."""
    return quote(text, safe="")
