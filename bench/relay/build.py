"""Builds the load generator."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
LIBRARIES = ("-lssl", "-lcrypto", "-lpthread")
PACKAGES = {"cc": "gcc libc6-dev", "openssl": "libssl-dev", "haproxy": "haproxy"}
"""What Debian calls the packages."""


class ToolMissing(Exception):
    """Something is not installed; the text says how to get it."""

    def __init__(self, *tools: str) -> None:
        packages = " ".join(PACKAGES[tool] for tool in tools)
        super().__init__(f"not installed: {', '.join(tools)}. apt-get install -y {packages}")


@dataclass(frozen=True, slots=True)
class Generator:
    """The two programs."""

    server: Path
    client: Path


def missing() -> list[str]:
    """What the generator's build lacks, as keys of `PACKAGES`."""
    if shutil.which("cc") is None:
        return ["cc", "openssl"]
    probe = subprocess.run(
        ["cc", "-E", "-x", "c", "-"],
        input="#include <openssl/ssl.h>\n",
        text=True,
        capture_output=True,
        check=False,
    )
    return [] if probe.returncode == 0 else ["openssl"]


def build(out: Path) -> Generator:
    """The generator in `out`, compiled anew when a source is newer.

    Raises:
        ToolMissing: No compiler, or no OpenSSL headers.
        RuntimeError: It does not compile.
    """
    if absent := missing():
        raise ToolMissing(*absent)
    out.mkdir(parents=True, exist_ok=True)
    made = Generator(out / "load_server", out / "load_client")
    for target in (made.server, made.client):
        sources = [HERE / f"{target.name}.c", HERE / "load.h"]
        if target.exists() and all(
            source.stat().st_mtime < target.stat().st_mtime for source in sources
        ):
            continue
        done = subprocess.run(
            ["cc", *FLAGS, "-o", str(target), str(sources[0]), *LIBRARIES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{sources[0].name} does not compile: {done.stderr}")
    return made
