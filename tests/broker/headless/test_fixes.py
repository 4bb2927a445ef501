"""Errors of sessions without a window: each says what to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import broker.headless
from broker import errors

ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)} | {"Busy"}
MODULES = sorted(Path(broker.headless.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_each_error_has_a_fix(path: Path) -> None:
    made = [
        call
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS
    ]
    without = [call.lineno for call in made if "fix" not in {each.arg for each in call.keywords}]
    assert without == []
