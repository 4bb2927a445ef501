"""The list that is measured is the interface, and its rows change."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bench.lists import FIRST_NAME
from bench.measure import clean_env
from bench.terminal import Terminal, has

CHANGED = re.compile(r"db-000007 .* host-07 +[1-9]")
"""A row of the first burst, with a session."""


def test_updates_are_shown(tmp_path: Path) -> None:
    env = clean_env(BROKER_HOME=str(tmp_path), TERM="xterm-256color", LANG="C.UTF-8")
    argv = [sys.executable, "-m", "bench.list_app", "ours", "100", "200"]
    seen = Terminal(argv, env)
    try:
        seen.until(has(FIRST_NAME))
        seen.press("\x1b[20~")  # F9
        seen.until(lambda lines: any(map(CHANGED.search, lines)))
    finally:
        seen.end()
