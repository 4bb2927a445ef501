"""One picture of a guest as a file."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

from broker import private_file
from broker.view import Frame


def file_name(machine: str, at: datetime) -> str:
    """What to call it: the machine's name, kept to what every file system takes, and the time."""
    plain = "".join(char if char.isalnum() or char in "-_." else "-" for char in machine)
    return f"{plain.lstrip('.')[:80] or 'screen'}-{at:%Y%m%d-%H%M%S}.png"


def save(path: Path, frame: Frame) -> None:
    """Write it as PNG, whole or not at all; nobody else may read what is on a screen.

    Raises:
        OSError: Something is there, which is not touched, or it cannot be written.
    """
    from PIL import Image

    size = (frame.width, frame.height)
    raw = "RGB" if frame.form == "RGB" else "BGRX"
    image = Image.frombytes("RGB", size, frame.data, "raw", raw)
    made = io.BytesIO()
    image.save(made, "PNG")
    private_file.write(path, made.getvalue(), replace=False)
