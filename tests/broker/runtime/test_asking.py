"""Sources are asked about one console by one at a time, and held to their policy."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from broker.dialing import DialPolicy
from broker.driver import Driver
from broker.errors import NoConsole, SourceUnreachable
from broker.model import Console, GivenTarget, MachineId, MachineKey, SourceName, TcpTarget
from broker.runtime import asking
from broker.runtime.asking import Asking

LAB = SourceName("lab")
KEY = MachineKey(LAB, MachineId("00000000-0000-0000-0000-000000000001"))


class Source:
    """A driver, and where drivers come from."""

    def __init__(self, *, policy: DialPolicy | None = None, hangs: bool = False) -> None:
        self.at_once = self.most = 0
        self.hangs = hangs
        if policy is not None:
            self.dial_policy = lambda: policy

    async def driver(self, name: SourceName) -> Driver:
        return cast(Driver, cast(Any, self))

    async def console(self, machine_id: MachineId) -> Console:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await (asyncio.Event().wait() if self.hangs else asyncio.sleep(0))
        self.at_once -= 1
        return Console(TcpTarget("192.0.2.9", 5900), ticket="t", superseding=True)


async def test_two_who_ask_take_turns_whatever_process_they_are(tmp_path: Path) -> None:
    source = Source()
    workers = [Asking(source, tmp_path / "asking") for _ in range(2)]
    await asyncio.gather(*(worker.console(KEY) for worker in workers * 3))
    assert source.most == 1


async def test_the_policy_of_the_source_goes_with_the_target(tmp_path: Path) -> None:
    policy = DialPolicy(("10.0.0.0/8",))
    for given, expected in ((policy, policy), (None, DialPolicy())):
        found = await Asking(Source(policy=given), tmp_path / "asking").console(KEY)
        assert isinstance(found.target, TcpTarget)
        assert found.target.policy == expected


async def test_a_source_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.01)
    with pytest.raises(SourceUnreachable, match="did not say"):
        await Asking(Source(hangs=True), tmp_path / "asking").console(KEY)


async def test_a_source_that_hands_nothing_over_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoConsole, match="hands no consoles over"):
        await Asking(Source(), tmp_path / "asking").give(GivenTarget(LAB, KEY.uuid))
