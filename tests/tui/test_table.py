"""The table: the cursor is a row, not a line; only what is seen is drawn."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from tui.rows import Cell, Column
from tui.widgets.table import VirtualTable

COLUMNS = [
    Column[str]("NAME", 10, Cell, flex=True, hits=True),
    Column[str]("SIZE", 6, lambda row: Cell(str(len(row)), "dim"), 1, right=True),
]
KEYS = st.sampled_from(["up", "down", "j", "k", "g", "G", "pageup", "pagedown", "ctrl+d", "ctrl+u"])
VIEWS = st.lists(st.integers(0, 60), unique=True, max_size=40)


class Alone(App[None]):
    """A table and nothing else."""

    CSS_PATH = "../../tui/styles/app.tcss"

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[int] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {f"state-{tone}": "#888888" for tone in ("ok", "warn", "bad", "busy", "dim")}

    def compose(self) -> ComposeResult:
        yield VirtualTable[int, str](COLUMNS, self.row)

    def row(self, key: int) -> str:
        self.drawn.append(key)
        return f"row-{key}"

    @property
    def table(self) -> VirtualTable[int, str]:
        return self.query_one(VirtualTable)

    def under_the_cursor(self) -> str:
        """The text of the line that looks like the cursor."""
        for strip in self.screen._compositor.render_strips():
            if strip.text.startswith("▌"):
                return strip.text[2:].split()[0]
        return ""


async def test_only_rows_on_screen_are_drawn() -> None:
    async with Alone().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        assert isinstance(app, Alone)
        app.table.show_view(range(100_000))
        await pilot.pause()
        await pilot.press("G")
        await pilot.pause()
        assert len(set(app.drawn)) <= 20
        assert app.under_the_cursor() == "row-99999"


async def test_a_change_far_away_draws_nothing() -> None:
    async with Alone().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        assert isinstance(app, Alone)
        app.table.show_view(range(1000))
        await pilot.pause()
        app.drawn.clear()
        app.table.rows_changed({500, 900})
        await pilot.pause()
        assert app.drawn == []
        app.table.rows_changed({3, 900})
        await pilot.pause()
        assert app.drawn == [3]


async def test_the_row_keeps_its_line_when_rows_come_above_it() -> None:
    async with Alone().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        assert isinstance(app, Alone)
        app.table.show_view(range(100, 200))
        await pilot.press(*"j" * 30)
        line = app.table.cursor - round(app.table.scroll_offset.y)
        app.table.show_view(range(200))
        await pilot.pause()
        assert app.table.key == 130
        assert app.table.cursor - round(app.table.scroll_offset.y) == line


async def test_a_click_selects_and_a_double_click_chooses() -> None:
    async with Alone().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        assert isinstance(app, Alone)
        app.table.show_view(range(100))
        await pilot.pause()
        await pilot.click(VirtualTable, offset=(5, 4))
        assert app.table.key == 3


@settings(max_examples=15)
@given(steps=st.lists(st.one_of(KEYS, VIEWS), max_size=12), begin=VIEWS)
def test_what_is_selected_is_what_is_seen_under_the_cursor(
    steps: list[str | list[int]], begin: list[int]
) -> None:
    async def drive() -> None:
        async with Alone().run_test(size=(40, 10)) as pilot:
            app = pilot.app
            assert isinstance(app, Alone)
            app.table.show_view(begin)
            await pilot.pause()
            for step in steps:
                before = app.table.key
                if isinstance(step, str):
                    await pilot.press(step)
                else:
                    app.table.show_view(step)
                    assert before not in step or app.table.key == before
                await pilot.pause()
                seen = app.under_the_cursor()
                assert seen == ("" if app.table.key is None else f"row-{app.table.key}")

    asyncio.run(drive())
