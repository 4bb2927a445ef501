from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from broker.clock import SystemClock
from broker.errors import BrokerError
from broker.findings import Finding, Mark, Step, broken, fine, odd
from broker.service.doctor import Check, Look, examine, host_checks, path_checks

FINE = fine("all is well")
ODD = odd("no KVM", "Guests run slower")
BROKEN = broken("off", "Start it")


def shows(finding: Finding) -> Look:
    async def look() -> Finding:
        return finding

    return look


async def take(checks: Sequence[Check], *, stop: bool = True) -> list[Step]:
    steps = examine(checks, SystemClock(), stop_at_failure=stop, step_seconds=0.05)
    return [step async for step in steps]


async def test_steps_are_taken_in_order_and_handed_out() -> None:
    steps = await take([Check("a", shows(FINE)), Check("b", shows(ODD))])
    assert [(step.name, step.finding) for step in steps] == [("a", FINE), ("b", ODD)]


async def test_nothing_follows_a_broken_step_of_a_path() -> None:
    steps = await take([Check("a", shows(BROKEN)), Check("b", shows(FINE))])
    assert [step.name for step in steps] == ["a"]


async def test_all_checks_of_a_host_are_taken() -> None:
    steps = await take([Check("a", shows(BROKEN)), Check("b", shows(FINE))], stop=False)
    assert [step.finding.mark for step in steps] == [Mark.FAIL, Mark.OK]


async def test_an_error_for_people_is_a_broken_step() -> None:
    async def look() -> Finding:
        raise BrokerError("the port is busy", fix="Choose another")

    (step,) = await take([Check("port", look)])
    assert step.finding == broken("the port is busy", "Choose another")


async def test_a_look_that_hangs_is_a_broken_step() -> None:
    async def look() -> Finding:
        await asyncio.Event().wait()
        return FINE

    (step,) = await take([Check("source", look)])
    assert step.finding.mark is Mark.FAIL
    assert "did not answer within 0.05 seconds" in step.finding.words


async def test_a_bug_in_a_look_is_not_hidden() -> None:
    async def look() -> Finding:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await take([Check("bug", look)])


class Probes:
    """Answers every question with its name."""

    def __getattr__(self, name: str) -> Look:
        return shows(fine(name))


async def test_a_host_is_looked_at_in_the_order_a_person_would_mend_it() -> None:
    steps = await take(host_checks(Probes()))
    assert [step.finding.words for step in steps] == [
        "directories", "settings", "database", "clock", "certificate", "qemu", "spice", "kvm",
        "uefi", "qemu_img", "port", "viewer", "display",
    ]  # fmt: skip


async def test_a_path_is_walked_from_the_name_to_the_picture() -> None:
    steps = await take(path_checks(Probes()))
    assert [step.finding.words for step in steps] == [
        "known", "source", "screen", "process", "monitor", "server", "reach", "certificate",
        "link", "ticket", "proxy", "proxy_certificate", "file", "viewer",
    ]  # fmt: skip
