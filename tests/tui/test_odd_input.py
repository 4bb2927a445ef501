"""What nobody should send: odd names, megabytes, odd terminals. The screen stays calm."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from broker.errors import UsageError
from broker.events import Kind
from broker.model import MachineSpec, SourceName
from tests.fakes.service import FakeService, console, session
from tests.tui import cells
from tests.tui.conftest import Drive, settle, text_of
from tests.tui.test_live import until
from tui import __main__ as entry
from tui.app import BrokerApp
from tui.glyphs import ASCII, for_locale

NAMES = {
    "emoji": "web \N{ROCKET}\N{FAMILY}\N{REGIONAL INDICATOR SYMBOL LETTER D}01",
    "joined": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u2764\ufe0f1\ufe0f\u20e3"
    "\U0001f44d\U0001f3fda\u200db",
    "ambiguous": "\u03b1\u2460\u00d7\u2192\u3164\ufffe\u00ad" * 9,
    "right-to-left": "\u05e9\u05e8\u05ea \u0645\u0631\u062d\u0628\u0627 01",
    "turned": "safe\u202egpj.exe\u2066x\u2069",
    "control": "a\x1b]0;owned\x07\x1b[31m\r\nb\x9bc",
    "wide": "\u4e2d\u6587" * 40,
    "combining": "e\u0301" * 60,
    "markup": "[red]no[/red] [@click=app.quit]x[/]",
}


def named(name: str) -> FakeService:
    """Everything is called so, wherever somebody outside chooses the words."""
    rows = [console(name, "here", 1), console(name + "2", "lab", 2)]
    service = FakeService(rows)
    service.live = [replace(session(rows[0], "k3f9a0b1c2d1", name), label=name)]
    service.status = [
        replace(one, name=SourceName(name), problem=name, fix=name) for one in service.status
    ]
    service.say(Kind.MACHINE_FAILED, name, rows[0])
    return service


def drawn(sign: str) -> int:
    """How many cells xterm and tmux draw it in: sign by sign, as if none joined another."""
    if unicodedata.category(sign) in ("Mn", "Me", "Cf") and sign != "\u00ad":
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def is_calm(pilot: Pilot[None]) -> None:
    """Every line is as wide as the terminal, and nothing on it steers one."""
    assert isinstance(pilot.app, BrokerApp)
    for strip in cells.strips(pilot.app):
        assert cell_len(strip.text) == pilot.app.size.width, repr(strip.text)
        assert sum(map(drawn, strip.text)) == pilot.app.size.width, repr(strip.text)
        bad = [c for c in strip.text if unicodedata.category(c) == "Cc"]
        bad += [c for c in strip.text if "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"]
        assert not bad, repr(strip.text)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_no_name_gets_out_of_its_cell_on_any_page(drive: Drive, name: str) -> None:
    async with drive(named(name), size=(130, 30)) as pilot:
        for pressed in ("1", "2", "3", "4", "5", "6", "comma", "1"):
            await pilot.press(pressed)
            await settle(pilot)
            is_calm(pilot)
        for opened in ("full_stop", "p", "e", "w", "c", "L", "ctrl+o", "colon"):
            await pilot.press(opened)
            await settle(pilot)
            is_calm(pilot)
            await pilot.press("escape")
            await settle(pilot)
        assert pilot.app.is_running


@pytest.mark.parametrize("width", [40, 80, 161])
async def test_columns_stay_below_each_other_whatever_is_in_them(drive: Drive, width: int) -> None:
    names = list(NAMES.values())
    service = FakeService([console(name, "here", at) for at, name in enumerate(names)])
    async with drive(service, size=(width, 30)) as pilot:
        is_calm(pilot)
        assert isinstance(pilot.app, BrokerApp)
        lines = [strip.text for strip in cells.strips(pilot.app)]
        states = [line.partition("● running")[0] for line in lines[3:] if "● running" in line]
        assert len(states) >= len(names)
        assert len({sum(map(drawn, before)) for before in states[: len(names)]}) == 1
        for number in range(len(names)):
            if number:
                await pilot.press("escape", "j")
            for opened in ("d", "k"):
                await pilot.press(opened)
                await pilot.pause()
                is_calm(pilot)
                await pilot.press("escape")
                await pilot.pause()


async def test_the_title_of_a_live_view_keeps_to_its_line(drive: Drive) -> None:
    for name in (NAMES["joined"], NAMES["wide"]):
        service = FakeService([console(name, "here", 1)])
        async with drive(service, size=(60, 12)) as pilot:
            await pilot.press("l")
            await until(pilot, lambda: "keyboard: guest" in text_of(pilot))
            is_calm(pilot)


@pytest.mark.parametrize(
    ("before", "burst", "done"),
    [
        (("p", "k"), "yyy", ["kill"]),
        (("p",), "ddd", ["stop"]),
        (("p",), "kk", []),
        (("S",), "nnn", []),
        (("full_stop",), "ddd", ["stop"]),
        (("q",), "kk", ["leave_proxy"]),
    ],
    ids="".join,
)
async def test_a_letter_typed_again_and_again_answers_once(
    drive: Drive, service: FakeService, before: tuple[str, ...], burst: str, done: list[str]
) -> None:
    service.live = [session(service.named("demo"), "k1", "192.0.2.10:1")]
    async with drive(service) as pilot:
        await pilot.press("j", "j", *before)
        await settle(pilot)
        for letter in burst:
            pilot.app.post_message(events.Key(letter, letter))
        await settle(pilot)
        seen = [verb for verb, *_ in service.asked if verb in ("kill", "stop", "leave_proxy")]
        assert seen == done


async def paste(pilot: Pilot[None], text: str) -> Input:
    """What a terminal hands over in one piece."""
    field = pilot.app.focused
    assert isinstance(field, Input)
    pilot.app.post_message(events.Paste(text))
    await until(pilot, lambda: field.value)
    return field


async def test_megabytes_pasted_into_the_filter_find_nothing_and_can_be_taken_back(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("slash")
        await paste(pilot, "no such thing " * 200_000 + "\nsecond line")
        await until(pilot, lambda: "Nothing matches" in text_of(pilot))
        is_calm(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "web-01" in text_of(pilot))
    assert service.asked == [("host_proxy",)]


async def test_megabytes_pasted_into_a_form_are_refused_by_it(
    drive: Drive, service: FakeService, demo: MachineSpec
) -> None:
    async with drive(service, demo=demo) as pilot:
        await pilot.press("n")
        await settle(pilot)
        await paste(pilot, "x" * 2_000_000)
        await pilot.press("ctrl+s")
        await settle(pilot)
        is_calm(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.is_running
    assert not [what for what in service.asked if what[0] in ("define", "start")]


@pytest.mark.parametrize("opened", ["k", "p", "n", "ctrl+o", "full_stop", "5", "6"])
async def test_a_storm_of_sizes_with_something_open(
    drive: Drive, service: FakeService, opened: str
) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", opened)
        for width, height in ((40, 10), (200, 60), (1, 1), (80, 24), (12, 3), (300, 9), (100, 30)):
            await pilot.resize_terminal(width, height)
        await settle(pilot)
        is_calm(pilot)
        await pilot.press("escape", "1")
        await until(pilot, lambda: "web-01" in text_of(pilot))


async def test_forty_by_ten_shows_where_one_is(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(40, 10)) as pilot:
        for page in ("1", "2", "3", "4", "5", "6"):
            await pilot.press(page)
            await settle(pilot)
            is_calm(pilot)
            assert f" {page} " in text_of(pilot).splitlines()[0]
        await pilot.press("1", "j")
        for opened, shows in (("p", "Power"), ("n", "New VM"), ("full_stop", "db-01")):
            await pilot.press(opened)
            await settle(pilot)
            is_calm(pilot)
            assert shows in text_of(pilot)
            await pilot.press("escape")


@pytest.mark.parametrize("locale", ["C", "POSIX", "ja_JP.UTF-8", "zh_CN.UTF-8", "de_DE.ISO-8859-1"])
async def test_where_marks_are_two_cells_wide_or_unknown_ascii_is_drawn(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    monkeypatch.delenv("LC_CTYPE", raising=False)
    monkeypatch.setenv("LC_ALL", locale)
    glyphs = for_locale()
    assert glyphs is ASCII
    async with drive(service, size=(80, 24), glyphs=glyphs) as pilot:
        for pressed in ("j", "p", "escape", "n", "escape", "question_mark", "escape", "colon"):
            await pilot.press(pressed)
            await settle(pilot)
            assert text_of(pilot).isascii(), [c for c in text_of(pilot) if ord(c) > 126]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_draw_is_told_so(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    class Tty:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", term)
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", Tty())
    with pytest.raises(UsageError, match="cannot draw") as refused:
        entry._check_terminal()
    assert "TERM=xterm-256color" in refused.value.fix
