"""Rules that hold for every source file of the three wings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WINGS = ("broker", "tui", "sources")
PRODUCT = sorted(path for wing in WINGS for path in (ROOT / wing).rglob("*.py"))

LINES_MAX = 400
CATCHALLS = {
    # Where every problem has to end, whatever it is: each says it, and logs its traceback once.
    "broker/cli/main.py",
    "broker/reconcile/inventory.py",
    "tui/app.py",
    "tui/jobs.py",
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def offending(path: Path, pattern: str) -> list[str]:
    """The lines that match, with their numbers."""
    lines = path.read_text().splitlines()
    return [f"{i}: {line.strip()}" for i, line in enumerate(lines, 1) if re.search(pattern, line)]


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_an_ignore_has_its_rule_and_its_reason(path: Path) -> None:
    bare = r"#\s*(noqa(?!: [A-Z0-9, ]+ - \S)|type: ignore(?!\[[\w, -]+\]\s+# \S))"
    assert offending(path, bare) == []


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_a_long_file_says_why_at_its_top(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LINES_MAX or "one file" in " ".join(lines[:20])


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_catching_everything_has_its_reason(path: Path) -> None:
    if named(path) not in CATCHALLS:
        assert offending(path, r"except Exception\b(?!.*# \w)") == []


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_nothing_is_left_for_later(path: Path) -> None:
    # A base class of the TUI may leave a method to its children; nothing else may leave a hole.
    hole = r"\bTODO\b|\bFIXME\b" + ("" if path.is_relative_to(ROOT / "tui") else "|NotImplemented")
    assert offending(path, hole) == []


def test_nine_source_files_in_ten_have_less_than_300_lines() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in PRODUCT)
    assert lengths[len(lengths) * 9 // 10] < 300
