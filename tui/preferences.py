"""What a person can choose about the interface, a row each: colours, marks, columns, keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from broker import human
from broker.service.configuring import Preferences
from tui import keys
from tui.act import display
from tui.glyphs import UNICODE, Glyphs
from tui.rows import Cell, Column

THEME, GLYPHS, COLUMN, KEY = "theme", "glyphs", "column", "key"
_MARKS_SAY: Final = {
    "auto": "what the locale can draw",
    "unicode": "round marks and arrows",
    "ascii": "signs that every terminal has",
}
AS_IT_COMES: Final = "as it comes"


@dataclass(frozen=True, slots=True)
class Choice:
    """One row.

    Attributes:
        kind: THEME, GLYPHS, COLUMN or KEY.
        name: A theme, a set of marks, a column's title, or an act's id.
        says: What it is.
        now: How it stands, in words.
        used: It is the one that counts, or is shown.
        origin: Where that was chosen.
    """

    kind: str
    name: str
    says: str
    now: str = ""
    used: bool = False
    origin: str = AS_IT_COMES

    @property
    def id(self) -> tuple[str, str]:
        """What names it."""
        return self.kind, self.name


def choices(
    wanted: Preferences | None,
    *,
    themes: Iterable[str],
    theme: str,
    titles: Sequence[str],
    columns: Sequence[str] | None,
) -> list[Choice]:
    """Every row.

    Args:
        wanted: What the files say; None when they were not read yet.
        theme: The one that is shown.
        titles: Of all columns there are.
        columns: Titles of those that are shown, in order; None for all there is room for.
    """
    return [
        *_of_themes(wanted, themes, theme),
        *_of_marks(wanted),
        *_of_columns(wanted, titles, columns),
        *_of_keys(wanted),
    ]


def _of_themes(wanted: Preferences | None, themes: Iterable[str], theme: str) -> Iterator[Choice]:
    for name in themes:
        used = name == theme
        origin = _origin(wanted, "theme") if used else ""
        yield Choice(THEME, name, "colours", "in use" if used else "", used, origin)


def _of_marks(wanted: Preferences | None) -> Iterator[Choice]:
    for name, says in _MARKS_SAY.items():
        used = wanted is not None and name == wanted.glyphs
        origin = _origin(wanted, "glyphs") if used else ""
        yield Choice(GLYPHS, name, says, "wanted" if used else "", used, origin)


def _of_columns(
    wanted: Preferences | None, titles: Sequence[str], columns: Sequence[str] | None
) -> Iterator[Choice]:
    """Those that are shown, in their order, before the others."""
    origin, says = _origin(wanted, "columns"), "column of the consoles"
    shown = list(titles if columns is None else columns)
    for place, title in enumerate(shown, 1):
        yield Choice(COLUMN, title, says, f"shown, {place}", True, origin)
    for title in titles:
        if title not in shown:
            yield Choice(COLUMN, title, says, "hidden", False, origin)


def _of_keys(wanted: Preferences | None) -> Iterator[Choice]:
    mine = wanted.keys if wanted is not None else {}
    for act in keys.BY_ID.values():
        origin = "keys.yaml" if act.id in mine else AS_IT_COMES
        yield Choice(KEY, act.id, act.help, " ".join(act.keys), act.id in mine, origin)


def _origin(wanted: Preferences | None, name: str) -> str:
    found = wanted.origins.get(name, "default") if wanted is not None else "default"
    if found == "default":
        return AS_IT_COMES
    return PurePath(found).name if "/" in found else f"${found}"


def choice_columns(glyphs: Glyphs = UNICODE) -> list[Column[Choice]]:
    """The columns of the list of choices."""

    def now(row: Choice) -> Cell:
        if row.kind == KEY:
            return Cell(row.now, "ok" if row.used else "")
        mark = glyphs.on if row.used else glyphs.off
        return Cell(f"{mark} {row.now}".rstrip(), "ok" if row.used else "dim")

    return [
        Column("KIND", 7, lambda row: Cell(row.kind, "dim"), 2, hits=True),
        Column("NAME", 20, lambda row: Cell(human.one_line(row.name)), 0, flex=True, hits=True),
        Column("NOW", 16, now, 1, hits=True),
        Column("FROM", 17, lambda row: Cell(human.one_line(row.origin), "dim"), 3),
        Column("", 20, lambda row: Cell(row.says, "dim"), 4, flex=True, hits=True),
    ]


def toggled(
    title: str, titles: Sequence[str], columns: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The columns with that one shown, or hidden; None when they are all there are, in order."""
    shown = list(titles if columns is None else columns)
    if title in shown:
        shown.remove(title)
    else:
        shown.append(title)
    return _plain(shown, titles)


def shifted(
    title: str, by: int, titles: Sequence[str], columns: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The columns with that one further left or right."""
    shown = list(titles if columns is None else columns)
    if title in shown:
        place = shown.index(title)
        shown.remove(title)
        shown.insert(max(0, place + by), title)
    return _plain(shown, titles)


def _plain(shown: list[str], titles: Sequence[str]) -> tuple[str, ...] | None:
    return None if shown == list(titles) else tuple(shown)


def explained(row: Choice) -> str:
    """What can be done about it."""
    key = keys.SETTINGS_CHANGE.sign
    if row.kind == KEY:
        act = keys.BY_ID[row.name]
        usual = " ".join(display(key) for key in act.key.split(","))
        where = [name for name, acts in keys.SCREENS.items() if act in acts]
        there = ", ".join(where) if where else "every page"
        return f"{act.help}. On: {there}. It comes with: {usual}. Others go into keys.yaml."
    if row.kind == COLUMN:
        later, earlier = keys.SETTINGS_LATER.sign, keys.SETTINGS_EARLIER.sign
        return (
            f"{key} shows or hides it, {later} and {earlier} move it. "
            "A narrow terminal leaves some out."
        )
    if row.kind == GLYPHS:
        return f"{key} chooses it; it counts from the next start on."
    return f"{key} chooses it, and it is kept. NO_COLOR takes all colours away."
