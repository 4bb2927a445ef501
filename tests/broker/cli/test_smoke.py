from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.cli.smoke_home import fresh_home
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService
from tests.guests import needs_qemu


def test_a_fresh_home_hides_settings_and_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_STORE_URL", "postgresql://x")
    monkeypatch.setenv("BROKER_HOME", "/tmp/mine")
    with fresh_home() as home:
        assert os.environ["BROKER_HOME"] == str(home)
        assert "BROKER_STORE_URL" not in os.environ
        assert len(str(home)) < 30
    assert not home.exists()
    assert os.environ["BROKER_HOME"] == "/tmp/mine"
    assert os.environ["BROKER_STORE_URL"] == "postgresql://x"
    assert "BROKER_PROXY_TLS_PORT" not in os.environ


@needs_qemu
def test_a_step_that_breaks_ends_what_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from broker.errors import Unreachable

    monkeypatch.setattr("broker.cli.smoke_steps.LOOK_SECONDS", 0.001)
    service = FakeService()
    service.failing["machine_log"] = Unreachable("no serial port", fix="Look at the guest")
    ran = called(f"smoke --keep {tmp_path}", service)
    assert ran.code == 1
    assert "broken at banner" in ran.out
    assert "Look at the guest" in ran.err
    assert [what[0] for what in service.asked] == [
        "define", "start", "machine_log", "kill", "delete", "leave_proxy", "kill",
    ]  # fmt: skip
    assert (tmp_path / "report.json").exists()
    assert service.closed
