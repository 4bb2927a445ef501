"""The terminal lent to the person's own editor for a file, and had back."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

from textual.app import App

from broker.editor import editor
from broker.errors import UsageError


def can_lend(app: App[Any]) -> bool:
    """Whether there is a terminal to lend: in a browser there is none."""
    driver = app._driver  # Textual tells it nowhere else
    return driver is not None and driver.can_suspend


async def edit(app: App[Any], path: Path, kept: str) -> bool:
    """Lend the terminal to an editor for that file until it ends; whether it ended well.

    Args:
        kept: What to say of the text when it did not; that it did not is said, too.
    """
    try:
        words = editor()
    except UsageError as problem:
        app.notify(problem.fix, title=problem.what, severity="warning", markup=False)
        return False
    # Without the batch, painting fills the queue of a writer that has stopped, for good.
    with app.batch_update(), app.suspend():
        well = await asyncio.to_thread(_ended_well, [*words, str(path)])
    app.refresh()
    if not well:
        said = f"{kept}. EDITOR names another one"
        app.notify(said, title=f"{words[0]} failed", severity="warning", markup=False)
    return well


def _ended_well(words: list[str]) -> bool:
    try:
        return subprocess.run(words, check=False).returncode == 0  # noqa: S603 - the person's own editor
    except OSError:
        return False
