"""Lists that change all the time: what is known already is kept, and only that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.model import Ability, State
from broker.service.port import ConsoleInfo
from tests.fakes.service import NOW, FakeService, console
from tests.tui.conftest import Drive, text_of, until
from tests.tui.test_table import Alone
from tui import catalog as catalogs
from tui import rows
from tui.catalog import Catalog, Order
from tui.unify import Changed, differing, takes_long, unify
from tui.widgets import filter_bar

STATES = (State.RUNNING, State.PAUSED, State.CRASHED)
SORTS = {column.title: column for column in rows.console_columns(lambda: NOW)}

places = st.integers(0, 29)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("state"), places, st.sampled_from(STATES)),
        st.tuples(st.just("sessions"), places, st.integers(0, 3)),
        st.tuples(st.just("name"), places, st.sampled_from(["web-1", "db-1", "k8s"])),
        st.tuples(st.just("go"), places, st.none()),
        st.tuples(st.just("find"), st.none(), st.sampled_from(["", "w", "we", "web", "1 -db"])),
        st.tuples(st.just("find"), st.none(), st.sampled_from(["state:run", "state:p", "zzz"])),
        st.tuples(st.just("sort"), st.booleans(), st.sampled_from(["", "NAME", "STATE", "SES"])),
    ),
    max_size=14,
)


def many() -> list[ConsoleInfo]:
    return [
        console(f"{('web', 'db')[number % 2]}-{number % 7}", number=number) for number in range(30)
    ]


def after(listed: Sequence[ConsoleInfo], step: tuple[str, object, object]) -> list[ConsoleInfo]:
    """The list with that done to it."""
    what, place, value = step
    made = list(listed)
    if what in ("state", "sessions", "name", "go"):
        assert isinstance(place, int)
        old = made[place % len(made)]
        if what == "go":
            made.pop(place % len(made))
        elif what == "sessions":
            made[place % len(made)] = replace(old, sessions=value)  # type: ignore[arg-type]
        else:
            machine = replace(old.machine, **{what: value})  # type: ignore[arg-type]
            made[place % len(made)] = replace(old, machine=machine)
    return made


@settings(max_examples=200)
@given(changes)
def test_what_is_found_step_by_step_is_what_is_found_at_once(
    script: list[tuple[str, object, object]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogs, "_FEW", 1.0)  # put into place whatever there is
        grown, listed, text, order = Catalog(), many(), "", None
        grown.apply(listed)
        for step in script:
            before, listed = listed, after(listed, step)
            if step[0] == "find":
                text = str(step[2])
            elif step[0] == "sort":
                column = SORTS.get(str(step[2]))
                order = Order(column.title, column.order, bool(step[1])) if column else None
                grown.sort_by(order)
            made, changed = unify(before, listed)
            grown.apply(made, changed)
            listed = list(made)
            fresh = Catalog()
            fresh.sort_by(order)
            fresh.apply(listed)
            assert [grown.row(n) for n in grown.find(text)[0]] == [
                fresh.row(n) for n in fresh.find(text)[0]
            ]


def test_a_filter_that_would_find_the_same_gives_the_very_same_list() -> None:
    catalog, listed = Catalog(), many()
    catalog.apply(listed)
    found, _ = catalog.find("web")
    listed[0] = replace(listed[0], sessions=3)
    catalog.apply(listed)
    assert catalog.take_changes().changed
    assert catalog.find("web ")[0] is found


def test_what_changed_is_told_with_the_list_that_it_changed_from() -> None:
    before = tuple(many())
    now = [replace(info, seen_at=NOW) for info in before]
    now[7] = replace(now[7], sessions=1)
    made, changed = unify(before, now)
    assert changed == Changed(before, [7])
    assert made[7] is now[7]
    assert all(made[place] is before[place] for place in range(30) if place != 7)
    assert unify(before, now[1:])[1] is None


def test_a_change_from_another_list_is_not_believed() -> None:
    first, second = many(), many()
    second[3] = replace(second[3], sessions=2)
    catalog = Catalog()
    catalog.apply(first)
    catalog.apply(second, Changed(many(), []))
    assert catalog.row(3).sessions == 2


@given(st.lists(st.booleans(), max_size=400))
def test_lists_differ_where_their_objects_do(same: list[bool]) -> None:
    before = [console(f"vm-{place}", number=place) for place in range(len(same))]
    now = [
        info if kept else replace(info, sessions=9) for info, kept in zip(before, same, strict=True)
    ]
    assert differing(before, now) == [place for place, kept in enumerate(same) if not kept]


def test_what_a_hypervisor_turns_out_to_be_able_to_do_is_a_change() -> None:
    before = tuple(many())
    now = [replace(info, abilities={Ability.REBOOT: ""}) for info in before]
    made, _ = unify(before, now)
    assert all(Ability.REBOOT in info.abilities for info in made)


async def test_what_stands_on_the_screen_is_what_the_table_would_paint() -> None:
    chance = Random(7)
    async with Alone().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        assert isinstance(app, Alone)
        table, view = app.table, list(range(30))
        for _ in range(60):
            match chance.randrange(4):
                case 0:
                    await pilot.press(chance.choice(["j", "G", "g", "space", "ctrl+d"]))
                case 1:
                    table.painter.sorted_by = chance.choice([("NAME", True), ("SIZE", False), None])
                case 2:
                    view = chance.sample(range(30), chance.randrange(31))
                case 3:
                    view = [key for key in view if chance.random() < 0.9]
            table.show_view(view)
            await pilot.pause()
            painted = app.screen._compositor.render_strips()
            for y in range(table.size.height):  # the last cell is the scrollbar's
                assert painted[y].text[:-1] == table.render_line(y).text[:-1]


async def test_a_letter_and_the_rows_it_leaves_are_one_picture(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_bar, "LAGS_SECONDS", 30.0)
    async with drive(service) as pilot:
        await pilot.press(*"/web-0")
        await until(pilot, "2 of 8")
        pictures: list[str] = []
        monkeypatch.setattr(
            pilot.app, "post_display_hook", lambda: pictures.append(text_of(pilot).splitlines()[1])
        )
        await pilot.press("1")
        await until(pilot, "1 of 8")
        await pilot.press("backspace")
        await until(pilot, "2 of 8")
    said = {tuple(line.split()[1:3]) for line in pictures}
    assert ("web-01", "1") in said
    assert said <= {("web-0", "2"), ("web-01", "1")}


def test_a_list_that_is_mostly_the_one_before_is_compared_at_once() -> None:
    before = [console(f"vm-{place}", number=place) for place in range(3000)]
    now = list(before)
    now[17] = replace(now[17], sessions=1)
    made, changed = unify(before, now)
    assert not takes_long(before, now)
    assert (made, changed) == (now, Changed(before, [17]))
    anew = [replace(info) for info in before]
    assert takes_long(before, anew)
    assert takes_long((), anew)
    assert not takes_long(before[:1000], anew[:1000])


def test_lists_of_two_kinds_differ_by_their_rows_only() -> None:
    before = [console(f"vm-{place}", number=place) for place in range(300)]
    assert differing(tuple(before), before) == []
