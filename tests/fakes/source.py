"""What the fakes of all products share: machines in a lab, and what can happen to them."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import ClassVar

from tests.fakes.http import Answer, HttpServer, Request, http_server
from tests.fakes.lab import Lab


@dataclass
class FakeGuest:
    """A machine of a fake. All that run have the lab's one screen.

    Attributes:
        state: `running` or `stopped`; fakes know others in their own words.
    """

    id: str
    name: str
    state: str = "running"
    spice: bool = True
    more: dict[str, object] = field(default_factory=dict)


class FakeSource(abc.ABC):
    """A product's API in front of a lab.

    Attributes:
        twice: Ids that the list shows twice.
        password: What its one account logs in with.
        slow_no: Seconds before a 401.
        may_not: Rights that the account lacks, as the product calls them.
        given: What was given out to reach screens with: tickets, tokens.
    """

    type: ClassVar[str]
    list_part: ClassVar[str]
    """A part of the path that lists machines."""
    screen_part: ClassVar[str]
    """A part of the path that makes the way to a screen."""
    power_right: ClassVar[str]
    """What it takes to switch a machine off."""
    password = "pass-word-of-the-api"

    def __init__(self, lab: Lab, guests: list[FakeGuest]) -> None:
        self.lab = lab
        self.guests = {guest.id: guest for guest in guests}
        self.twice: list[str] = []
        self.slow_no = 0.0
        self.may_not: set[str] = set()
        self.given: list[str] = []
        self.logins = 0
        self.wrong_ca: str | None = None
        self.wrong_subject: str | None = None
        self.switched: list[tuple[str, str]] = []
        self.server: HttpServer

    @abc.abstractmethod
    async def answer(self, request: Request) -> Answer:
        """What the product says to that."""

    @abc.abstractmethod
    def options(self) -> dict[str, object]:
        """What sources.yaml has to say."""

    def pins(self) -> dict[str, object]:
        """Options that say what the certificates of SPICE servers are, where the API does not."""
        return {}

    @abc.abstractmethod
    def expire_tokens(self) -> None:
        """Whoever is logged in is not any more."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the body ends."""
        async with http_server(self, self.lab.ca) as self.server:
            yield

    def another_id(self, number: int) -> str:
        """The id of one more machine."""
        return f"{number:08x}-1111-4222-8333-000000000001"

    def add(self, guest_id: str, name: str) -> FakeGuest:
        """One more machine, which runs."""
        self.guests[guest_id] = FakeGuest(guest_id, name)
        return self.guests[guest_id]

    def listed(self) -> list[FakeGuest]:
        """All machines, as its list shows them."""
        return [*self.guests.values(), *(self.guests[each] for each in self.twice)]

    async def no(self, answer: Answer) -> Answer:
        """A 401, after as long as it takes."""
        await asyncio.sleep(self.slow_no)
        return answer
