"""When a machine is started again; with a real QEMU: tests/integration/test_keeper.py."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from broker.errors import VmStartFailed
from broker.events import Event
from broker.model import (
    Machine,
    MachineId,
    MachineKey,
    MachineSpec,
    Power,
    Restart,
    SourceName,
    State,
)
from broker.reconcile.keeper import HESITATION, SETTLE, STABLE, Keeper
from broker.reconcile.plan import IS_ON, Upkeep, plan_upkeep
from tests.fake_clock import FakeClock

KEY = MachineKey(SourceName("here"), MachineId("1"))
SPEC = MachineSpec("vm", KEY.uuid, restart=Restart.ON_CRASH)


class World:
    """One machine, its driver, the store and the reconciler in one."""

    def __init__(self) -> None:
        self.seen = Machine(KEY, "vm", State.RUNNING, defined=True)
        self.spec_now = SPEC
        self.want: Power | None = Power.ON
        self.switching = False
        self.due = False
        self.acts: list[str] = []
        self.told: list[str] = []
        self.failing = False
        self.stays_down = False

    # the drivers, and the one there is
    async def driver(self, _name: SourceName, *, paused: bool = False) -> "World":
        return self

    async def refresh_machine(self, _key: MachineKey) -> None: ...

    def is_being_switched(self, _uuid: MachineId) -> bool:
        return self.switching

    def begin_autostart(self, _uuid: MachineId) -> bool:
        due, self.due = self.due, False
        return due

    async def watch(self, changed: object) -> None: ...

    async def spec(self, _uuid: MachineId) -> MachineSpec:
        return self.spec_now

    async def define(self, spec: MachineSpec) -> None: ...

    async def delete(self, uuid: MachineId, *, keep_disks: bool = True) -> None: ...

    # the store
    def machine(self, _key: MachineKey) -> Machine:
        return self.seen

    def wanted(self) -> Mapping[MachineKey, Power]:
        return {} if self.want is None else {KEY: self.want}

    def put_wanted(self, _key: MachineKey, power: Power) -> None:
        self.want = power

    def add_event(self, event: Event) -> None:
        self.told.append(event.text)

    # the reconciler
    async def reconcile(self, _key: MachineKey, *, gently: bool = True, grace: float) -> Machine:
        assert gently
        self.acts.append("off" if self.want is Power.OFF else "on")
        if self.failing:
            raise VmStartFailed("vm: QEMU ended at once")
        if not self.stays_down:
            state = State.STOPPED if self.want is Power.OFF else State.RUNNING
            self.seen = replace(self.seen, state=state)
        return self.seen

    def crash(self) -> None:
        self.seen = replace(self.seen, state=State.CRASHED, reason="QEMU ended: exit code 1")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keeper(world: World, clock: FakeClock) -> Keeper:
    return Keeper(world, world, world, clock, grace=30)  # type: ignore[arg-type]


ENDED = {State.CRASHED, State.STOPPED, State.SHUTDOWN}


@pytest.mark.parametrize("seen", list(State))
@pytest.mark.parametrize("wanted", [None, Power.ON, Power.OFF])
@pytest.mark.parametrize("restart", list(Restart))
def test_what_a_broker_that_stays_does(wanted: Power | None, seen: State, restart: Restart) -> None:
    expected = Upkeep.NOTHING
    if wanted is Power.OFF and seen in IS_ON:
        expected = Upkeep.FINISH_STOPPING
    if wanted is Power.ON and (
        (restart is Restart.ALWAYS and seen in ENDED)
        or (restart is Restart.ON_CRASH and seen is State.CRASHED)
    ):
        expected = Upkeep.START_AGAIN
    assert plan_upkeep(wanted, seen, restart) is expected


async def test_the_pause_before_each_start_grows_and_begins_anew_after_long(
    keeper: Keeper, world: World, clock: FakeClock
) -> None:
    pauses = []
    await keeper.look(KEY)
    for _ in range(7):
        world.crash()
        pauses.append(await keeper.look(KEY))
        clock.forward(pauses[-1] or 0)
        assert await keeper.look(KEY) == SETTLE
    assert pauses == [1, 2, 5, 15, 60, 60, 60]
    clock.forward(STABLE)
    world.crash()
    assert await keeper.look(KEY) == 1
    assert world.acts == ["on"] * 7


async def test_a_start_that_fails_counts_and_is_tried_again(
    keeper: Keeper, world: World, clock: FakeClock
) -> None:
    world.failing = True
    world.crash()
    pauses = []
    for _ in range(3):
        pauses.append(await keeper.look(KEY))
        clock.forward(pauses[-1] or 0)
        await keeper.look(KEY)
    assert (pauses, world.acts) == ([1, 2, 5], ["on"] * 3)


async def test_a_look_before_its_time_starts_nothing(
    keeper: Keeper, world: World, clock: FakeClock
) -> None:
    world.crash()
    assert await keeper.look(KEY) == 1
    clock.forward(0.25)
    assert (await keeper.look(KEY), world.acts) == (0.75, [])


async def test_an_end_is_told_once_and_by_its_kind(keeper: Keeper, world: World) -> None:
    await keeper.look(KEY)
    world.crash()
    await keeper.look(KEY)
    await keeper.look(KEY)
    assert world.told == ["here/vm crashed: QEMU ended: exit code 1"]


async def test_a_crash_from_before_is_told_when_something_is_done_about_it(
    keeper: Keeper, world: World
) -> None:
    world.crash()
    await keeper.look(KEY)
    await keeper.look(KEY)
    assert world.told == ["here/vm crashed: QEMU ended: exit code 1"]


async def test_one_that_somebody_switches_is_left_to_them(
    keeper: Keeper, world: World, clock: FakeClock
) -> None:
    world.crash()
    world.switching = True
    for _ in range(5):
        assert await keeper.look(KEY) == SETTLE
        clock.forward(60)
    assert world.acts == []


async def test_a_stop_is_only_finished_when_nobody_has_acted_for_a_while(
    keeper: Keeper, world: World, clock: FakeClock
) -> None:
    world.want = Power.OFF
    assert await keeper.look(KEY) == HESITATION
    clock.forward(HESITATION - 1)
    world.switching = True
    await keeper.look(KEY)
    world.switching = False
    assert await keeper.look(KEY) == HESITATION
    clock.forward(HESITATION)
    await keeper.look(KEY)
    assert (world.acts, world.seen.state) == (["off"], State.STOPPED)


async def test_a_machine_that_is_due_starts_with_its_host_but_once(
    keeper: Keeper, world: World
) -> None:
    world.want, world.due = None, True
    world.spec_now = replace(SPEC, autostart=True, restart=Restart.NEVER)
    world.seen = replace(world.seen, state=State.STOPPED)
    await keeper.look(KEY)
    world.seen = replace(world.seen, state=State.STOPPED)
    await keeper.look(KEY)
    assert world.acts == ["on"]
    assert world.wanted() == {KEY: Power.ON}
