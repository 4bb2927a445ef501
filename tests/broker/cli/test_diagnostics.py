from __future__ import annotations

import io
import json

import pytest

from broker import errors
from broker.cli.diagnostics import (
    EXIT_WORDS,
    Exit,
    Talk,
    error_document,
    exit_for,
)
from broker.errors import (
    Ambiguous,
    BrokerError,
    ConfigError,
    NoConsole,
    NotFound,
    Refused,
    SourceDenied,
    SourceUnreachable,
    StoreError,
    UsageError,
    ViewerMissing,
    VmStartFailed,
    VmUnresponsive,
)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (UsageError(""), 2),
        (ConfigError(""), 2),
        (NotFound(""), 3),
        (Ambiguous("", candidates=("a/x", "b/x")), 3),
        (SourceUnreachable(""), 4),
        (VmUnresponsive(""), 4),
        (Refused(""), 5),
        (SourceDenied(""), 5),
        (NoConsole(""), 1),
        (VmStartFailed(""), 1),
        (ViewerMissing(""), 1),
        (StoreError(""), 1),
        (BrokerError(""), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code(problem: BaseException, code: int) -> None:
    assert exit_for(problem) == code


def test_each_exit_code_has_its_words() -> None:
    assert set(EXIT_WORDS) == set(Exit)


def test_an_ambiguous_name_lists_its_candidates() -> None:
    document = error_document(Ambiguous("two are", candidates=("a/x", "b/x")))
    assert document["candidates"] == ["a/x", "b/x"]


def test_a_refusal_gives_its_reason() -> None:
    assert error_document(Refused("no", reason="token-used"))["reason"] == "token-used"


def test_quiet_silences_notes_and_never_errors() -> None:
    stream = io.StringIO()
    talk = Talk(stream, quiet=True)
    talk.note("by the way")
    talk.problem(BrokerError("it broke", fix="Mend it"))
    assert stream.getvalue() == "broker: it broke\n        Mend it\n"


def test_with_json_each_line_is_an_object() -> None:
    stream = io.StringIO()
    talk = Talk(stream, json=True)
    talk.note("by the way")
    talk.problem(errors.BrokerError("it broke"))
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"note": "by the way"},
        {"error": "broker-error", "what": "it broke", "fix": ""},
    ]


def test_text_from_elsewhere_cannot_drive_the_terminal() -> None:
    stream = io.StringIO()
    Talk(stream).note("evil \x1b[2J\n name")
    assert stream.getvalue() == "broker: evil �[2J� name\n"
