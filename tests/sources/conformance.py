"""What every driver has to keep to, whatever it talks to: derive a class, and give it a driver.

A third party does the same: `from tests.sources.conformance import DriverConformance` in a checkout
of this repository, or a copy of this file. Each test makes a driver of its own.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from broker.driver import Driver, DriverContext, SingleLook
from broker.errors import BrokerError, ConfigError, NoConsole, NotFound
from broker.findings import Mark, Step
from broker.hypervisor import ChannelGiver, Checkable, Described, Dialing, Offering, Switching
from broker.model import (
    Ability,
    Console,
    GivenTarget,
    Machine,
    MachineId,
    SourceName,
    State,
    TcpTarget,
)

NAME = SourceName("under-test")
NO_SUCH = MachineId("00000000-dead-4bad-8bad-000000000000")
TICKET_MAX = 59


class DriverConformance(ABC):
    """The suite. Fixtures of your own fill in the abstract ones.

    Attributes:
        driver_class: What is tested.
        secrets: Texts of the options and the source that may be nowhere but where they belong.
    """

    driver_class: type[Driver]
    secrets: Sequence[str] = ()

    @pytest.fixture
    @abstractmethod
    def options(self) -> Mapping[str, object]:
        """Options with which the driver reaches a source that has at least one machine."""

    @pytest.fixture
    @abstractmethod
    def unreachable(self) -> Mapping[str, object] | None:
        """Options of a source that does not answer; None when the driver asks nobody."""

    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        for each in ("config", "data", "run"):
            (tmp_path / each).mkdir(mode=0o700, exist_ok=True)
        return DriverContext(tmp_path / "config", tmp_path / "data", tmp_path / "run")

    @pytest.fixture
    async def driver(
        self, options: Mapping[str, object], context: DriverContext
    ) -> AsyncIterator[Driver]:
        made = self.driver_class.from_options(NAME, options, context)
        yield made
        await made.aclose()

    # -- options

    def test_an_unknown_option_is_refused_without_quoting_values(
        self, options: Mapping[str, object], context: DriverContext
    ) -> None:
        wrong = {**options, "not_an_option": "s3cret-value"}
        with pytest.raises(ConfigError) as caught:
            self.driver_class.from_options(NAME, wrong, context)
        assert "not_an_option" in caught.value.what
        assert "s3cret-value" not in str(caught.value)

    def test_a_misspelt_option_gets_the_right_one(
        self, options: Mapping[str, object], context: DriverContext
    ) -> None:
        key = next(iter(options), None)
        if key is None:
            pytest.skip("there is no option to misspell")
        wrong = {(f"{each}x" if each == key else each): value for each, value in options.items()}
        with pytest.raises(ConfigError) as caught:
            self.driver_class.from_options(NAME, wrong, context)
        assert key in caught.value.fix or key in caught.value.what

    def test_the_schema_names_the_options_it_takes(self, options: Mapping[str, object]) -> None:
        if not issubclass(self.driver_class, Described):
            pytest.skip("it does not describe itself")
        schema = self.driver_class.options_schema()
        json.dumps(schema)
        properties = schema["properties"]
        assert isinstance(properties, dict)
        assert set(options) <= set(properties)

    def test_making_one_asks_nobody(
        self, unreachable: Mapping[str, object] | None, context: DriverContext
    ) -> None:
        if unreachable is not None:
            self.driver_class.from_options(NAME, unreachable, context)

    # -- listing

    async def test_machines_are_named_once_and_belong_to_the_source(self, driver: Driver) -> None:
        machines = await driver.machines()
        assert machines
        keys = [machine.key for machine in machines]
        assert len(set(keys)) == len(keys)
        for machine in machines:
            assert machine.key.source == NAME
            assert machine.key.uuid == machine.key.uuid.lower()
            assert machine.name
            assert isinstance(machine.state, State)
            if isinstance(machine.target, TcpTarget):
                assert machine.target.tunnel is None, "that is for one session only"

    async def test_listing_again_shows_the_same(self, driver: Driver) -> None:
        first = {machine.key: machine.name for machine in await driver.machines()}
        assert {machine.key: machine.name for machine in await driver.machines()} == first

    async def test_a_source_that_does_not_answer_is_an_error_of_ours(
        self, unreachable: Mapping[str, object] | None, context: DriverContext
    ) -> None:
        if unreachable is None:
            pytest.skip("it asks nobody")
        driver = self.driver_class.from_options(NAME, unreachable, context)
        try:
            with pytest.raises(BrokerError) as caught:
                await driver.machines()
            assert caught.value.what
            assert caught.value.fix
            self.see_no_secret(str(caught.value))
        finally:
            await driver.aclose()

    async def test_one_look_shows_what_the_listing_shows(self, driver: Driver) -> None:
        if not isinstance(driver, SingleLook):
            pytest.skip("it lists only")
        machine = (await driver.machines())[0]
        alone = await driver.machine(machine.key.uuid)
        assert (alone.key, alone.name) == (machine.key, machine.name)
        with pytest.raises(NotFound):
            await driver.machine(NO_SUCH)

    # -- consoles

    async def test_a_console_is_told_or_denied_with_a_reason(self, driver: Driver) -> None:
        told = 0
        for machine in await driver.machines():
            try:
                console = await driver.console(machine.key.uuid)
            except NoConsole as none:
                self.see_no_secret(str(none))
                continue
            told += 1
            self.check_console(driver, machine, console)
        assert told, "no machine has a console"

    def check_console(self, driver: Driver, machine: Machine, console: Console) -> None:
        ticket = console.ticket
        if ticket:
            assert len(ticket.encode()) <= TICKET_MAX
            assert ticket not in repr(console)
            assert ticket not in repr(machine)
        if console.expires_at is not None:
            assert isinstance(console.expires_at, datetime)
            assert console.expires_at.tzinfo is not None
        if isinstance(console.target, GivenTarget):
            assert isinstance(driver, ChannelGiver)
            assert console.target.source == NAME
        if isinstance(console.target, TcpTarget):
            assert console.target.host
            assert console.target.port or console.target.tls_port
            assert console.target.policy is None, "the house fills it in"
            if isinstance(driver, Dialing):
                driver.dial_policy()

    async def test_the_console_of_no_machine_is_not_found(self, driver: Driver) -> None:
        with pytest.raises((NotFound, NoConsole)):
            await driver.console(NO_SUCH)

    # -- what else it offers

    async def test_what_it_offers_it_has(self, driver: Driver) -> None:
        if not isinstance(driver, Offering):
            pytest.skip("it offers nothing more")
        await driver.machines()
        offered = driver.abilities()
        for ability, why_not in offered.items():
            assert isinstance(ability, Ability)
            assert not why_not.endswith("."), "a sentence without its period"
        if any(not offered.get(each, "-") for each in (Ability.START, Ability.STOP)):
            assert isinstance(driver, Switching)
            with pytest.raises(NotFound):
                await driver.switch(NO_SUCH, Ability.START)

    async def test_a_check_finds_nothing_broken(self, driver: Driver) -> None:
        if not isinstance(driver, Checkable):
            pytest.skip("it cannot be checked")
        steps = await driver.check()
        assert steps
        assert all(isinstance(step, Step) for step in steps)
        assert not [step for step in steps if step.finding.mark is Mark.FAIL]
        self.see_no_secret(str(steps))

    async def test_a_check_of_what_does_not_answer_ends_with_what_failed(
        self, unreachable: Mapping[str, object] | None, context: DriverContext
    ) -> None:
        if unreachable is None or not issubclass(self.driver_class, Checkable):
            pytest.skip("it cannot be checked")
        driver = self.driver_class.from_options(NAME, unreachable, context)
        assert isinstance(driver, Checkable)
        try:
            steps = await driver.check()
        finally:
            await driver.aclose()
        assert steps[-1].finding.mark is Mark.FAIL
        assert steps[-1].finding.fix
        self.see_no_secret(str(steps))

    async def test_no_representation_holds_a_secret(self, driver: Driver) -> None:
        self.see_no_secret(repr(driver))
        self.see_no_secret(repr(vars(driver) if hasattr(driver, "__dict__") else ()))
        for machine in await driver.machines():
            self.see_no_secret(repr(machine))
        self.see_no_secret(" ".join(driver.warnings))

    async def test_it_closes_twice(self, driver: Driver) -> None:
        await driver.machines()
        await driver.aclose()

    def see_no_secret(self, text: str) -> None:
        for secret in self.secrets:
            assert not re.search(re.escape(secret), text), "a secret shows"
