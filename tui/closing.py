"""Whether a screen can still be written on."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen


def is_open(screen: Screen[Any]) -> bool:
    """Whether it has its children, which whatever comes late has to ask.

    One that was closed is attached for a few turns of the loop, and they are gone already. Pages,
    which are never closed, need not ask.
    """
    stacks = screen.app._screen_stacks.values()  # one for each page
    return screen.is_attached and any(screen in stack for stack in stacks)
