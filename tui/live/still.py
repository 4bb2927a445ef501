"""One picture of a guest as a file."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

from broker import private_file
from broker.errors import UsageError
from broker.view import Frame


def file_name(machine: str, at: datetime) -> str:
    """What to call it: the machine's name, kept to what every file system takes, and the time."""
    plain = "".join(char if char.isalnum() or char in "-_." else "-" for char in machine)
    return f"{plain.lstrip('.')[:80] or 'screen'}-{at:%Y%m%d-%H%M%S}.png"


def save(name: str, frame: Frame) -> Path:
    """Write it as PNG in the current directory; nobody else may read what is on a screen.

    Returns:
        Where it is: with a number behind its name where that is taken.

    Raises:
        UsageError: It cannot be written; nothing is left of it.
    """
    from PIL import Image

    size = (frame.width, frame.height)
    raw = "RGB" if frame.form == "RGB" else "BGRX"
    image = Image.frombytes("RGB", size, frame.data, "raw", raw)
    made = io.BytesIO()
    image.save(made, "PNG")
    try:
        return private_file.write_new(Path.cwd() / name, made.getvalue())
    except OSError as exc:
        raise UsageError(
            f"{name} cannot be written here ({exc.strerror})", fix="Start broker elsewhere"
        ) from exc
