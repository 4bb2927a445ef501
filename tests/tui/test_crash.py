"""A fault of ours ends the interface and tells no secret."""

from __future__ import annotations

import logging

import pytest

from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle

TICKET = "not-for-a-terminal"


async def test_a_fault_is_told_without_the_values_at_hand(
    drive: Drive,
    service: FakeService,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        ticket = f"{TICKET}-{len(caplog.records)}"
        raise RuntimeError(f"{len(ticket)} letters too many")

    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError):  # noqa: PT012 - it may end anywhere in it
        async with drive(service) as pilot:
            pilot.app.call_later(fail)
            await settle(pilot)
    told = capsys.readouterr().err
    assert "letters too many" in told
    assert "fault in the terminal interface" in told
    assert TICKET not in told
    assert "letters too many" in caplog.text
