"""Whatever happens meanwhile, a key acts on the row that stood under the cursor, or on none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot

from broker.model import State
from broker.service.port import ConsoleInfo
from tests.fakes.service import NOW, FakeService, console
from tests.tui import cells
from tui.app import BrokerApp
from tui.screens.help import HelpScreen

STATES = (State.RUNNING, State.PAUSED, State.CRASHED)
NAMES = {"-": "minus", ":": "colon", "slash": "slash"}
WORDS = ("vm", "web", "-vm", "state:run", "state:paused", "source:lab", "1", "zzz")

rows = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(STATES)), max_size=12)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("press"), st.sampled_from(["j", "k", "g", "G", "ctrl+d", "space", "escape"])
        ),
        st.tuples(st.just("refresh"), rows),
        st.tuples(st.just("filter"), st.sampled_from(WORDS)),
        st.tuples(st.just("sort"), st.sampled_from(["n", "s", "S", "h", "0"])),
        st.tuples(st.just("act"), rows),
        st.tuples(st.just("burst"), st.sampled_from(WORDS)),
    ),
    min_size=2,
    max_size=7,
)


def listed(drawn: Sequence[tuple[int, State]]) -> list[ConsoleInfo]:
    """Machines whose names and places in the list have little to do with each other."""
    found = {
        number: console(f"{'web' if number % 3 else 'vm'}-{number * 7 % 21:02d}", source, number)
        for number, _ in drawn
        for source in [("here", "lab")[number % 2]]
    }
    states = dict(drawn)
    named = [
        replace(row, machine=replace(row.machine, state=states[number]))
        for number, row in found.items()
    ]
    return sorted(named, key=lambda row: row.machine.name)


def under_the_cursor(app: BrokerApp) -> str:
    """The name in the line that looks like the cursor; empty when no line does."""
    lines = cells.text(app).splitlines()
    return next((line[3:].split()[0] for line in lines if line.startswith("▌")), "")


async def opened(service: FakeService, pilot: Pilot[None]) -> list[str]:
    """The names of what was asked to be opened since this was last asked."""
    await pilot.pause(0.05)
    await pilot.pause()
    names = {
        row.machine.key: row.machine.name for row in listed([(n, STATES[0]) for n in range(21)])
    }
    asked = [what[0] for verb, *what in service.asked if verb == "open_viewer"]
    service.asked.clear()
    return [names[key] for key in asked]  # type: ignore[index]


async def play(script: Sequence[tuple[str, object]]) -> None:
    service = FakeService(listed([(number, STATES[number % 3]) for number in range(12)]))
    app = BrokerApp(service.opened, initial=service.rows, now=lambda: NOW)
    async with app.run_test(size=(90, 12)) as pilot:
        await pilot.pause()
        for step, what in script:
            if step == "press":
                await pilot.press(str(what))
            elif step == "refresh":
                service.rows = listed(what)  # type: ignore[arg-type]
                service.changed()
                await pilot.pause(0.12)
            elif step == "filter":
                await pilot.press("slash", *str(what), "enter")
            elif step == "sort":
                await pilot.press("S", str(what))
            elif step == "burst":
                await burst(app, service, pilot, str(what))
            else:
                await act(app, service, pilot, listed(what))  # type: ignore[arg-type]


async def act(
    app: BrokerApp, service: FakeService, pilot: Pilot[None], later: list[ConsoleInfo]
) -> None:
    """A key, while another list is on its way; the one before it has come."""
    await pilot.pause(0.12)
    shown = under_the_cursor(app)
    service.asked.clear()
    service.rows = later
    service.changed()
    app.post_message(events.Key("o", "o"))
    assert await opened(service, pilot) in ([], [shown] if shown else [])


async def burst(app: BrokerApp, service: FakeService, pilot: Pilot[None], text: str) -> None:
    """A filter, Enter, one row down and a verb, faster than the app can follow."""
    await pilot.pause()
    service.asked.clear()
    await pilot.press("escape", "escape", "escape")
    found, _ = app.catalog.find(text)
    meant = [app.catalog.row(number).machine.name for number in found]
    for key in ("slash", *text, "enter", "j", "o", "f1"):
        app.post_message(events.Key(NAMES.get(key, key), key if len(key) == 1 else None))
    async with asyncio.timeout(60):  # until the last key of them has been served
        while not isinstance(app.screen, HelpScreen):
            await pilot.pause(0.01)
    await pilot.press("escape")
    assert await opened(service, pilot) == (meant[1:2] or meant[:1])
    await pilot.press("escape", "escape")


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps)
def test_a_key_acts_on_the_row_under_the_cursor_or_on_none(
    script: list[tuple[str, object]],
) -> None:
    asyncio.run(play(script))


def test_a_machine_that_goes_leaves_the_cursor_between_rows() -> None:
    async def gone() -> None:
        service = FakeService(listed([(number, State.RUNNING) for number in range(6)]))
        app = BrokerApp(service.opened, initial=service.rows, now=lambda: NOW)
        async with app.run_test(size=(90, 12)) as pilot:
            await pilot.press("j", "j")
            row = service.rows.pop(2)
            after = service.rows[2].machine
            service.changed()
            await pilot.pause(0.2)
            service.asked.clear()
            await pilot.press("o")
            await pilot.pause(0.1)
            assert service.asked == []
            assert under_the_cursor(app) == ""
            service.rows.insert(2, row)
            service.changed()
            await pilot.pause(0.2)
            assert under_the_cursor(app) == row.machine.name  # it came back, and so did the cursor
            service.rows.pop(2)
            service.changed()
            await pilot.pause(0.2)
            await pilot.press("j", "o")
            await pilot.pause(0.1)
            assert ("open_viewer", after.key) in service.asked

    asyncio.run(gone())


def test_a_key_that_waited_does_not_act_on_a_row_drawn_after_it_was_pressed() -> None:
    async def late() -> None:
        service = FakeService([])
        app = BrokerApp(service.opened, initial=[], now=lambda: NOW)
        async with app.run_test(size=(90, 12)) as pilot:
            await pilot.pause(0.12)
            waiting = events.Key("o", "o")
            service.rows = listed([(0, State.RUNNING)])
            service.changed()
            async with asyncio.timeout(60):
                while not under_the_cursor(app):
                    await pilot.pause(0.01)
            await pilot.pause()
            app.post_message(waiting)
            assert await opened(service, pilot) == []
            await pilot.press("o")
            assert await opened(service, pilot) == [service.rows[0].machine.name]

    asyncio.run(late())
