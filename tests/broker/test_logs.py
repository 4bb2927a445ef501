from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from broker import logs, tokens

TOKEN = "Zq8" * (tokens.LENGTH // 3)  # a fixed one: test names must not differ from run to run


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"session opened with {TOKEN}", TOKEN),
        (f"password={TOKEN}", TOKEN),
        ("set ticket: hunter2 for web-01", "hunter2"),
        ("{'password': 'hunter2', 'host': 'a'}", "hunter2"),
        ('{"ticket": "two words", "port": 1}', "two words"),
        ("TOKEN = hunter2", "hunter2"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("'Authorization': 'PVEAPIToken=root@pam!x=hunter2'", "hunter2"),
        ("sent Bearer abc.def", "abc.def"),
        ("secret=hunter2&x=1", "hunter2"),
    ],
)
def test_a_secret_is_taken_out(line: str, secret: str) -> None:
    assert secret not in logs.redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "channel opened to node1:5901",
        "6f4e2c1a-0000-0000-0000-000000000001 is running",
        "session 7l896ozk6qgw closed",
        "the ticket was refused",
    ],
)
def test_the_rest_stays(line: str) -> None:
    assert logs.redact(line) == line


def test_a_token_is_still_recognised_by_its_first_four_characters() -> None:
    assert logs.redact(f"token {TOKEN} used") == f"token {TOKEN[:4]}… used"


def test_arguments_and_tracebacks_are_searched(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(2)
    log = logging.getLogger("broker.trial")
    try:
        raise ValueError(f"password={TOKEN}")
    except ValueError:
        log.exception("with %s", TOKEN)
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("verbose", "seen"), [(0, "warning"), (1, "info warning"), (2, "debug info warning")]
)
def test_each_v_shows_more(verbose: int, seen: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose)
    log = logging.getLogger("broker.trial")
    log.debug("debug")
    log.info("info")
    log.warning("warning")
    lines = capsys.readouterr().err.splitlines()
    assert " ".join(line.split(": ")[-1] for line in lines) == seen


def test_json_lines_are_for_a_journal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0, form="json", minimum=logging.INFO)
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("broker.trial").exception("it %s", "broke")
    document = json.loads(capsys.readouterr().err)
    assert (document["level"], document["logger"], document["text"]) == (
        "error", "broker.trial", "it broke",
    )  # fmt: skip
    assert "ValueError: inside" in document["traceback"]


def logged(**fields: str) -> None:
    logging.getLogger("broker.trial").info("display.0 opened", extra=fields)


def test_json_lines_carry_fields_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(1, form="json")
    logged(session="abc", channel="display.0", verdict="admitted", label=TOKEN, reason="")
    document = json.loads(capsys.readouterr().err)
    assert {name: document.get(name) for name in logs.FIELDS if name in document} == {
        "session": "abc", "channel": "display.0", "verdict": "admitted", "label": f"{TOKEN[:4]}…",
    }  # fmt: skip


def test_a_line_of_text_says_which_session_and_channel(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0, minimum=logging.INFO)
    logged(session="abc", channel="display.0", verdict="admitted")
    logged()
    assert capsys.readouterr().err.splitlines() == [
        "broker: display.0 opened [session=abc channel=display.0]",
        "broker: display.0 opened",
    ]


def test_a_line_of_text_about_no_session_says_who_came_and_why_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever blocks addresses by a log needs the address; in the text of a refusal it is not."""
    logs.configure(0, minimum=logging.INFO)
    who = {"client": "192.0.2.7:4711", "label": "display", "console": "büro pc"}
    logged(channel="main", **who, reason="token-used")
    logged(session="abc", channel="main", **who, reason="client-closed")
    assert capsys.readouterr().err.splitlines() == [
        "broker: display.0 opened "
        "[channel=main client=192.0.2.7:4711 console='büro pc' reason=token-used]",
        "broker: display.0 opened [session=abc channel=main reason=client-closed]",
    ]


async def test_what_a_task_is_about_stands_in_its_lines_and_in_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(1, form="json")

    async def connection(channel: str) -> None:
        logs.about(channel=channel)
        logs.about(session="abc")
        await asyncio.sleep(0)
        logged()

    await asyncio.gather(connection("main"), connection("inputs.0"))
    logged()
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each.get("session"), each.get("channel")) for each in told] == [
        ("abc", "main"), ("abc", "inputs.0"), (None, None),
    ]  # fmt: skip


def test_what_comes_from_elsewhere_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0)
    logging.getLogger("broker.trial").warning("%s opened", "web\nbroker: all is well\x1b[2J")
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("chosen", "setting", "json_lines"),
    [(None, "json", True), (None, "text", False), ("text", "json", False), ("json", "text", True)],
)
def test_what_is_chosen_counts_before_the_setting(
    chosen: str | None, setting: str, json_lines: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(1, form=chosen)
    logs.prefer(setting)
    logged()
    assert capsys.readouterr().err.startswith("{") is json_lines


class Writes(io.StringIO):
    """A stream that remembers each write; full once it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError("no space left")
        self.writes.append(text)
        return len(text)


def test_lines_that_belong_together_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Writes()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(1, form="json")
    log = logging.getLogger("broker.trial")
    with logs.together():
        log.info("one")
        with logs.together():
            log.info("two of %s", TOKEN)
        assert stream.writes == []
    log.info("three")
    (first, second), third = stream.writes[0].splitlines(), stream.writes[1]
    texts = [json.loads(line)["text"] for line in (first, second, third)]
    assert texts == ["one", f"two of {TOKEN[:4]}…", "three"]


def test_a_log_that_nobody_takes_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Writes()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(1)
    stream.full = True
    with logs.together():
        logging.getLogger("broker.trial").info("lost")
    stream.full = False
    logging.getLogger("broker.trial").info("heard")
    assert "heard" in stream.writes[0]
