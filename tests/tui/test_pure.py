"""What needs no screen: filters, the catalog, cells, fitting, reasons."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from broker import human
from broker.events import Event, Kind
from broker.model import Health, MachineId, Protocol, SourceName, SourceStatus, State
from broker.service.port import ConsoleInfo
from tests.fakes.service import NOW, console, few
from tui import rows
from tui.allowed import why_not
from tui.catalog import FIELDS, Catalog
from tui.glyphs import ASCII, UNICODE, for_locale
from tui.query import Query, doubt, parse
from tui.screens.machine_log import clean
from tui.widgets.fit import fit, pad, split_hits

COLUMNS = rows.console_columns(lambda: NOW)


def catalog_of(consoles: list[ConsoleInfo]) -> Catalog:
    catalog = Catalog()
    catalog.apply(consoles)
    return catalog


def names(catalog: Catalog, text: str) -> list[str]:
    return [catalog.row(number).machine.name for number in catalog.find(text)[0]]


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("", Query()),
        ("Web 01", Query(words=("web", "01"))),
        ("-test", Query(without=("test",))),
        ("state:run", Query(fields=(("state", "run"),))),
        ("-source:lab x", Query(words=("x",), fields_without=(("source", "lab"),))),
        ("- state: -state:", Query()),
        ("10.0.0.1:5900", Query(words=("10.0.0.1:5900",))),
        ("owner:ana", Query(words=("owner:ana",))),
        ('"Web 01" x', Query(words=("web 01", "x"))),
        ('host:"rack 4" -"old one', Query(fields=(("host", "rack 4"),), without=("old one",))),
        ('" -" 5"x', Query(words=(" -", '5"x'))),
        ('""', Query()),
    ],
)
def test_a_filter_reads_words_fields_and_their_opposites(typed: str, query: Query) -> None:
    assert parse(typed, FIELDS) == query


@given(st.text(max_size=60))
def test_nothing_typed_can_break_the_filter(typed: str) -> None:
    catalog = catalog_of(few())
    found, _ = catalog.find(typed)
    assert set(found) <= set(catalog.order)
    assert "\x1b" not in doubt(typed, {"state": lambda: {"running"}})


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("state:runing", "No state begins with runing.  Did you mean running?"),
        ("web source:lap", "No source begins with lap.  Did you mean lab?"),
        ("stat:run", "There is no field stat:  Did you mean state:?\nFields are  source:  state:"),
        ("state:run -owner:ana -state:no", ""),
        ("10.0.0.1:5900 state:", ""),
    ],
)
def test_a_slip_in_a_filter_is_named_with_what_may_be_meant(typed: str, says: str) -> None:
    known = {"state": lambda: {"running", "off"}, "source": lambda: {"lab", "here"}}
    assert doubt(typed, known) == says


def test_the_catalog_knows_what_its_rows_have_in_a_field() -> None:
    catalog = catalog_of(few())
    assert catalog.values("source") == {"debug", "here", "lab"}
    assert {"off", "stopped", "crashed", "stale"} <= catalog.values("state")


def test_the_catalog_keeps_the_services_order() -> None:
    catalog = catalog_of(few())
    assert names(catalog, "") == [row.machine.name for row in few()]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("LAB", ["build-07", "k8s-node-1"]),
        ("via:spice state:paused", ["win11-desktop"]),
        ("state:running", ["demo", "web-01"]),
        ("-state:stale source:lab", []),
        ("host:localhost -web", ["db-01", "demo"]),
        ("000000000008", ["win11-desktop"]),
    ],
)
def test_the_catalog_finds(typed: str, found: list[str]) -> None:
    assert names(catalog_of(few()), typed) == found


UUIDS = ("6f4e2c1a-0a1b-4c2d-8e3f-aaaabbbb0001", "beef6f4e-1111-4222-8333-0123456789ab")


def with_uuids() -> Catalog:
    """`web-1` and `web-2`."""
    found = []
    for number, uuid in enumerate(UUIDS, 1):
        info = console(f"web-{number}", number=number)
        key = replace(info.machine.key, uuid=MachineId(uuid))
        found.append(replace(info, machine=replace(info.machine, key=key)))
    return catalog_of(found)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("4", []),
        ("6f4", []),
        ("6f4e", ["web-1"]),
        ("6F4E2C1A-0a1b", ["web-1"]),
        ("beef", ["web-2"]),
        ("eef6", []),
        ("0123456789ab", ["web-2"]),
        ("web -beef", ["web-1"]),
        ("web -ee", ["web-1", "web-2"]),
        ("web-2 4222-8", ["web-2"]),
    ],
)
def test_a_uuid_is_found_by_four_digits_with_which_a_group_of_it_begins(
    typed: str, found: list[str]
) -> None:
    assert names(with_uuids(), typed) == found


@given(st.lists(st.text("abef0146-w", max_size=6), max_size=6))
def test_what_is_found_letter_by_letter_is_what_is_found_at_once(typed: list[str]) -> None:
    grown = with_uuids()
    for text in typed:
        for end in range(len(text) + 1):
            assert grown.find(text[:end])[0] == with_uuids().find(text[:end])[0]
            assert grown.find(f"e{text[:end]}")[0] == with_uuids().find(f"e{text[:end]}")[0]


def test_the_catalog_tells_what_changed_once() -> None:
    catalog = catalog_of([console("a", number=1), console("b", number=2)])
    catalog.take_changes()
    catalog.apply([console("a", number=1), console("b", number=2, state=State.STOPPED)])
    changed = catalog.take_changes()
    assert [catalog.row(number).machine.name for number in changed.changed] == ["b"]
    assert not changed.reordered
    assert catalog.take_changes().changed == frozenset()
    catalog.apply([console("b", number=2, state=State.STOPPED)])
    assert catalog.take_changes().reordered


def test_a_number_keeps_its_machine_when_others_come_and_go() -> None:
    catalog = catalog_of([console("a", number=1), console("b", number=2)])
    b = catalog.number(console("b", number=2).machine.key)
    assert b is not None
    catalog.apply([console("c", number=3), console("b", number=2)])
    assert catalog.row(b).machine.name == "b"


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_mark_and_a_word(state: State) -> None:
    cell = rows.state_cell(console("a", state=state))
    mark, _, word = cell.text.partition(" ")
    assert len(mark) == 1
    assert word
    assert cell.tone in {"ok", "warn", "bad", "busy", "dim"}
    assert rows.state_cell(console("a", state=state), ASCII).text.isascii()


def test_a_stale_row_says_so_instead_of_looking_fresh() -> None:
    assert rows.state_cell(console("a", stale=True)) == ("◌ stale (running)", "dim")


def test_one_that_was_adopted_is_seen_opened_and_stopped_but_never_started() -> None:
    row = console("a")
    adopted = replace(row, machine=replace(row.machine, adopted=True, defined=False))
    assert rows.state_cell(adopted).text == "● running (seen)"
    assert [why_not(verb, adopted) for verb in ("open", "power", "stop", "kill")] == [""] * 4
    off = replace(adopted, machine=replace(adopted.machine, state=State.STOPPED))
    assert why_not("start", off) == "a was adopted: somebody else started it"


@pytest.mark.parametrize(
    ("seconds", "reads"), [(5, "<1m"), (59, "<1m"), (60, "1m"), (3599, "59m"), (7500, "2h05m")]
)
def test_an_age_in_a_list_changes_once_a_minute(seconds: int, reads: str) -> None:
    assert rows.minutes(seconds) == reads


def test_a_source_with_warnings_is_less_than_well() -> None:
    status = SourceStatus(SourceName("a"), "static", Health.OK, warnings=("x", "y"))
    assert rows.health_cell(status) == ("◐ ok, 2 warnings", "warn")


def test_an_events_time_is_local_and_to_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event(NOW + timedelta(seconds=7), Kind.PROXY_STARTED, "x")
    assert rows.event_columns()[0].cell(event).text == "21 Nov 08:15:07"


@pytest.mark.parametrize("width", [1, 10, 40, 78, 118, 158, 298])
def test_columns_fill_the_width_or_are_left_out(width: int) -> None:
    fitted = fit(COLUMNS, width)
    assert fitted[0][0].title == "NAME"
    total = sum(room + 1 for _, room in fitted)
    assert total == width or (len(fitted) == 1 and total > width)


@given(st.text(max_size=30), st.integers(1, 40), st.booleans())
def test_padding_always_gives_the_width(text: str, width: int, right: bool) -> None:
    printable = human.one_line(text)
    assert cell_len(pad(printable, width, right=right)) == width


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_marking_hits_loses_no_character(text: str, words: list[str]) -> None:
    pieces = split_hits(text, [word.lower() for word in words])
    assert "".join(piece for piece, _ in pieces) == text


def test_hits_are_marked_whatever_their_case() -> None:
    assert list(split_hits("K8s-Node", ["k8s"])) == [("K8s", True), ("-Node", False)]


@pytest.mark.parametrize(
    ("verb", "info", "says"),
    [
        ("open", console("a", "lab", protocol=Protocol.NONE), "no screen"),
        ("open", console("a", state=State.STOPPED), "u starts it"),
        ("export", console("a", state=State.STOPPED), ""),
        ("start", console("a", "lab"), "lab runs it"),
        ("start", console("a"), "is running already"),
        ("start", console("a", state=State.CRASHED), ""),
        ("stop", console("a", state=State.STOPPED), "is off already"),
        ("kill", console("a", state=State.UNRESPONSIVE), ""),
        ("delete", console("a"), "shut it down first"),
        ("delete", console("a", state=State.STOPPED), ""),
        ("log", console("a"), ""),
    ],
)
def test_what_cannot_be_done_has_a_reason(verb: str, info: ConsoleInfo, says: str) -> None:
    reason = why_not(verb, info)
    assert says in reason
    assert bool(reason) is bool(says)


@pytest.mark.parametrize(
    ("language", "unicode"),
    [("C", False), ("C.UTF-8", True), ("en_US.UTF-8", True), ("ja_JP.UTF-8", False), ("", False)],
)
def test_marks_fit_the_locale(
    monkeypatch: pytest.MonkeyPatch, language: str, unicode: bool
) -> None:
    monkeypatch.setenv("LANG", language)
    assert for_locale() is (UNICODE if unicode else ASCII)


def test_a_guests_output_cannot_move_the_cursor() -> None:
    text = "\x1b[2J\x1b[1;1Hboot\r\n\x1b]0;title\x07load 10%\rload 99%\n\x07bell\n"
    assert clean(text) == "boot\nload 99%\n�bell"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\U0001f469\U0001f467"),
        ("\u2764\ufe0f 1\ufe0f\u20e3", "\u2764 1\u20e3"),
        ("\U0001f44d\U0001f3fd", "\U0001f44d"),
        ("a\u3164b\uffff", "a\ufffdb\ufffd"),
        ("e\u0301 \u05e9\u05e8\u05ea \u4e2d", "e\u0301 \u05e9\u05e8\u05ea \u4e2d"),
        ("a\u202eb\x1b[2J\n", "a\ufffdb\ufffd[2J\ufffd"),
        ("plain", "plain"),
    ],
)
def test_a_name_is_as_wide_as_its_signs(text: str, shown: str) -> None:
    assert human.one_line(text) == shown
