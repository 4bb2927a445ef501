"""Rules that hold for every source file of the three wings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text().splitlines()
    for wing in ("broker", "tui", "sources")
    for path in sorted((ROOT / wing).rglob("*.py"))
}

LINES_MAX = 400
CATCHALLS = {
    # Where every problem has to end, whatever it is: each says it, and logs its traceback once.
    "broker/cli/main.py",
    "broker/reconcile/inventory.py",
    "tui/life.py",
    "tui/jobs.py",
}


def offending(pattern: str, names: Iterable[str] = SOURCES) -> list[str]:
    """The lines that match, with where they stand."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name in names
        for number, line in enumerate(SOURCES[name], 1)
        if re.search(pattern, line)
    ]


def test_an_ignore_has_its_rule_and_its_reason() -> None:
    bare = r"#\s*(noqa(?!: [A-Z0-9, ]+ - \S)|type: ignore(?!\[[\w, -]+\]\s+# \S))"
    assert offending(bare) == []


def test_catching_everything_has_its_reason() -> None:
    assert offending(r"except Exception\b(?!.*# \w)", SOURCES.keys() - CATCHALLS) == []


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def test_every_task_has_a_name() -> None:
    nameless = [
        f"{name}:{node.lineno}"
        for name, lines in SOURCES.items()
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.Call) and _called(node) in ("create_task", "owned")
        if "name" not in {keyword.arg for keyword in node.keywords}
    ]
    assert nameless + offending(r"\bensure_future\(") == []


def test_a_worker_is_given_work_to_begin_and_no_coroutine() -> None:
    # One that is cancelled before its first step leaves a coroutine that nobody ever awaits.
    begun = [
        f"{name}:{node.lineno}"
        for name, lines in SOURCES.items()
        if name.startswith("tui/")
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.Call) and _called(node) == "run_worker"
        for given in node.args[:1]
        if isinstance(given, ast.Call) and _called(given) != "partial"
    ]
    assert begun == []


def test_nothing_is_left_for_later() -> None:
    # A base class of the TUI may leave a method to its children; nothing else may leave a hole.
    core = [name for name in SOURCES if not name.startswith("tui/")]
    assert offending(r"\b(TODO|FIXME|XXX)\b") + offending(r"\bNotImplemented", core) == []


def test_a_long_file_says_at_its_top_why_it_is_one_file() -> None:
    long = {name for name, lines in SOURCES.items() if len(lines) > LINES_MAX}
    assert [name for name in long if "one file" not in " ".join(SOURCES[name][:20])] == []


def test_nine_source_files_in_ten_have_less_than_300_lines() -> None:
    lengths = sorted(map(len, SOURCES.values()))
    assert lengths[len(lengths) * 9 // 10] < 300
