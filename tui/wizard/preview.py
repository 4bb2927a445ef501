"""A definition and the command it makes, as text to look at."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.text import Text

from broker import human
from broker.provisioning import VmDraft


def command_lines(command: Sequence[str]) -> str:
    """A command with a line for each option, to be read and to be pasted into a shell."""
    lines: list[list[str]] = []
    for word in command:
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(word)
    return " \\\n  ".join(human.one_line(shlex.join(line)) for line in lines)


def preview(draft: VmDraft | None) -> Text:
    """What will be kept, and what a start runs first."""
    text = Text()
    if draft is None:
        return text
    text.append("machine.yaml\n", "bold")
    text.append("\n".join(human.one_line(line) for line in draft.text.splitlines()) + "\n\n")
    text.append("A start runs\n", "bold")
    if draft.command:
        text.append(command_lines(draft.command) + "\n")
    elif draft.hindrance:
        text.append(human.one_line(draft.hindrance) + "\n")
    else:
        text.append("nothing, until what is wrong is mended\n", "dim")
    return text
