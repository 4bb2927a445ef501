"""What was parsed once is not parsed again, and what changed is."""

from __future__ import annotations

from typing import Any

import pytest
from textual.css.parse import parse
from textual.css.stylesheet import StylesheetParseError
from textual.css.types import CSSLocation

from tests.fakes.service import FakeService
from tests.tui.conftest import Drive
from tui.stylesheet import RememberingStylesheet

HERE = ("here", "")


def test_rules_are_parsed_once_for_the_same_text_and_variables() -> None:
    sheet = RememberingStylesheet(variables={"main": "red"})
    sheet.add_source("Label { color: $main; }", HERE)
    sheet.add_source("Input { color: blue; }", ("there", ""))
    before = sheet.rules
    sheet.set_variables({"main": "red"})
    sheet.reparse()
    assert all(rule is same for rule, same in zip(sheet.rules, before, strict=True))
    sheet.add_source("Label { color: $main; background: blue; }", HERE)
    assert sheet.rules[0] is not before[0]
    assert sheet.rules[1] is before[1]


def test_other_variables_make_other_rules() -> None:
    sheet = RememberingStylesheet(variables={"main": "red"})
    sheet.add_source("Label { color: $main; }", HERE)
    (red,) = sheet.rules
    sheet.set_variables({"main": "blue"})
    sheet.reparse()
    (blue,) = sheet.rules
    assert (red.styles.color.hex, blue.styles.color.hex) == ("#FF0000", "#0000FF")


def test_what_is_wrong_leaves_what_was_good() -> None:
    sheet = RememberingStylesheet()
    sheet.add_source("Label { color: red; }", HERE)
    before = sheet.rules
    sheet.add_source("Label { colour: red; }", ("wrong", ""))
    with pytest.raises(StylesheetParseError):
        sheet.reparse()
    assert sheet._rules is before


async def test_the_app_parses_nothing_twice(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []

    def noted(scope: str, css: str, read_from: CSSLocation, **how: Any) -> object:
        parsed.append((scope, css, read_from, how["tie_breaker"]))
        return parse(scope, css, read_from, **how)

    monkeypatch.setattr("textual.css.stylesheet.parse", noted)
    async with drive(service) as pilot:
        await pilot.press("question_mark", "escape", "2", "1")
        assert isinstance(pilot.app.stylesheet, RememberingStylesheet)
    assert parsed
    assert len(parsed) == len(set(parsed))
