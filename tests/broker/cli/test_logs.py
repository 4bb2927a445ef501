from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from broker import tokens
from broker.cli import logs

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
    logs.configure(0, json=True, minimum=logging.INFO)
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("broker.trial").exception("it %s", "broke")
    document = json.loads(capsys.readouterr().err)
    assert (document["level"], document["logger"], document["text"]) == (
        "error", "broker.trial", "it broke",
    )  # fmt: skip
    assert "ValueError: inside" in document["traceback"]
