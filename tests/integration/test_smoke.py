"""`broker smoke`, as a person runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.guests import needs_qemu
from tests.integration.cli import broker


@needs_qemu
@pytest.mark.qemu
def test_every_step_holds_and_nothing_is_left_behind(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    said = broker("smoke", "--keep", str(kept), "--json")
    assert said.code == 0, said.out + said.err
    assert said.document["ok"] is True
    assert {step["mark"] for step in said.document["steps"]} <= {"ok", "warn"}  # type: ignore[attr-defined]  # a list of objects
    assert json.loads((kept / "report.json").read_text()) == said.document
    assert "K1" in (kept / "serial.log").read_text()
    assert "password=(taken out)" in (kept / "console.vv").read_text()
    assert (kept / "screen.png").read_bytes().startswith(b"\x89PNG")
    session = json.loads((kept / "session.json").read_text())
    assert session["label"] == "smoke"
    guest = re.search(r"demo is process (\d+)", said.out)
    assert guest is not None
    assert is_gone(session["worker"])
    assert is_gone(guest[1])


def is_gone(pid: object) -> bool:
    """Whether a process has ended; where nobody collects the dead, one may still be listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_artefacts_that_cannot_be_kept_are_said() -> None:
    said = broker("smoke", "--keep", "/proc/nowhere", "--json")
    assert (said.code, said.out) == (1, "")
    assert "--keep" in said.error["fix"]
