"""What an image file is: asked of `qemu-img`, or seen by its first bytes when that is missing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

from broker.errors import BrokerError, UsageError

INFO_SECONDS = 20.0
"""How long `qemu-img info` may take; a network file system may be slow."""

_ISO_AT = 0x8001
_ISO = b"CD001"
_MAGICS = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"vhdxfile": "vhdx", b"<<< ": "vdi"}


class Image(NamedTuple):
    """What a file is.

    Attributes:
        format: QEMU's word for it.
        is_iso: It is a CD; it belongs into the drive.
    """

    format: str
    is_iso: bool


def existing(text: str) -> Path:
    """The absolute path of an image that is there and can be read.

    Raises:
        UsageError: It is missing, a directory, or not ours to read.
    """
    path = Path(text).absolute()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        near = _near(path)
        raise UsageError(f"There is no image {text}", fix=near or "Check the path") from exc
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "no path has a NUL in it"
        raise UsageError(
            f"{text} cannot be looked at ({why})",
            fix="Check the path, and that its directories are open to you: namei -l PATH",
        ) from exc
    if stat.S_ISDIR(mode):
        raise UsageError(f"{text} is a directory, not an image", fix="Name a file in it")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{text} cannot be read by you", fix=f"Look at: ls -l {text}")
    return _tidy(path)


def _tidy(path: Path) -> Path:
    """Without `..`, where that leads to the same file: an image typed in two ways is one image."""
    short = Path(os.path.normpath(path))
    with contextlib.suppress(OSError):
        if short.samefile(path):
            return short
    return path


def _near(path: Path) -> str:
    from broker.human import did_you_mean

    try:
        return did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""


def look_at(path: Path, *, named: str | None = None) -> Image:
    """Which format an existing image has.

    What a guest wrote to a raw disk may look like another format, one that names other files of
    this host. So a file that is not called after its format is not believed to build on others.

    Args:
        named: What a person said it is; nothing is asked then, but whether it is an ISO.

    Raises:
        UsageError: `qemu-img` cannot make sense of it (its own words), or its name and its content
            tell different stories.
        BrokerError: `qemu-img` does not answer.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(_ISO_AT)
            is_iso = file.read(len(_ISO)) == _ISO
    except OSError as exc:
        raise UsageError(
            f"{path} cannot be read ({exc.strerror})", fix=f"Look at: ls -l {path}"
        ) from exc
    if is_iso:
        return Image("raw", is_iso=True)
    if named is not None:
        return Image(named, is_iso=False)
    if shutil.which("qemu-img"):
        info = _ask_qemu_img(path)
        found = str(info["format"])
        _believe(path, found, info)
        return Image(found, is_iso=False)
    known = (kind for magic, kind in _MAGICS.items() if head.startswith(magic))
    return Image(next(known, "raw"), is_iso=False)


def _believe(path: Path, found: str, info: dict[str, object]) -> None:
    """Raise UsageError when the name and the content of an image tell different stories."""
    suffix = path.suffix.lower().removeprefix(".")
    others = _other_files(path, info)
    if suffix == found or not (others or suffix == "raw"):
        return
    builds = f" that builds on {', '.join(others)}" if others else ""
    raise UsageError(
        f"{path} holds a {found} image{builds}, but is not called .{found};"
        " a guest can write such a thing to a raw disk",
        fix=f"Say which it is: --format {found}, or --format raw (in YAML: format: raw)",
    )


def _other_files(path: Path, info: dict[str, object]) -> list[str]:
    """The files besides itself that an image is made of."""
    specific = info.get("format-specific")
    data = specific.get("data") if isinstance(specific, dict) else None
    facts = data if isinstance(data, dict) else {}
    extents = facts.get("extents")
    named = [info.get("backing-filename"), facts.get("data-file")]
    named += [each.get("filename") for each in extents] if isinstance(extents, list) else []
    return [str(name) for name in named if name and str(name) != str(path)]


def _ask_qemu_img(path: Path) -> dict[str, object]:
    command = ["qemu-img", "info", "-U", "--output=json", str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - argv is built by us, no shell
            command, capture_output=True, timeout=INFO_SECONDS, check=False, text=True
        )
    except subprocess.TimeoutExpired as exc:
        raise BrokerError(
            f"qemu-img has not answered about {path} in {INFO_SECONDS:g} seconds",
            fix="Look whether its disk or network share hangs",
        ) from exc
    if done.returncode:
        words = done.stderr.strip().removeprefix("qemu-img: ")
        raise UsageError(f"{path} is not an image that QEMU can read: {words}")
    info: dict[str, object] = json.loads(done.stdout)
    return info
