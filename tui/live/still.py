"""One picture of a guest as a file."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from broker.view import Frame

MODE: Final = 0o600
"""What is on a screen is nobody else's business."""


def file_name(machine: str, at: datetime) -> str:
    """What to call it: the machine's name, kept to what every file system takes, and the time."""
    plain = "".join(char if char.isalnum() or char in "-_." else "-" for char in machine)
    return f"{plain.lstrip('.')[:80] or 'screen'}-{at:%Y%m%d-%H%M%S}.png"


def save(path: Path, frame: Frame) -> None:
    """Write it as PNG; a file that is there is not touched.

    Raises:
        OSError: It is there already, or cannot be written.
    """
    from PIL import Image

    size = (frame.width, frame.height)
    raw = "RGB" if frame.form == "RGB" else "BGRX"
    image = Image.frombytes("RGB", size, frame.data, "raw", raw)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
        image.save(file, "PNG")
