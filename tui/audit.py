"""The audit log as a file: CSV or JSON, by the file's ending. Pure, but for writing it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker import private_file
from broker.errors import UsageError
from broker.events import Event

_FIELDS: Final = (
    *("id", "at", "kind", "text", "source", "console", "session", "client"),
    *("label", "channel", "verdict", "reason"),
)
_RISKY: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""


def render(events: Sequence[Event], *, as_json: bool) -> str:
    """The events, oldest first."""
    rows = [{name: _value(event, name) for name in _FIELDS} for event in events]
    if as_json:
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return out.getvalue()


def write(path: Path, events: Sequence[Event]) -> None:
    """Write a new file that only its owner can read.

    Raises:
        UsageError: It is there already, or cannot be written.
    """
    text = render(events, as_json=path.suffix.lower() == ".json")
    try:
        private_file.write(path, text, replace=False)
    except FileExistsError as exc:
        raise UsageError(f"{path} exists", fix="Choose another name") from exc
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} cannot be written ({exc})", fix="Choose another place") from exc


def _value(event: Event, name: str) -> object:
    if name == "at":
        return event.at.isoformat()
    return getattr(event, name) or ""


def _harmless(value: object) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_RISKY) else text
