"""Lets the adversary loose on a machine, and looks after each try whether it still answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tests.adversary.draw import THROWN_OUT, Attack
from tests.adversary.link import Assault, Way, assault
from tests.adversary.machines import Field, Machine, sees_a_picture
from tests.adversary.plays import Play

PLAY_SECONDS = 20.0
CLOSE_SECONDS = 90.0


class Harmed(AssertionError):
    """The machine died, froze, or shows nobody a picture."""


@dataclass
class Tally:
    """What a siege came to."""

    tries: int = 0
    pictures: int = 0
    slowest_answer: float = 0.0
    stories: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.tries} tries, 0 machines died or froze, {self.pictures} fresh viewers got a "
            f"picture, slowest answer of QEMU {self.slowest_answer * 1000:.0f} ms"
        )


async def played(play: Play, way: Way, made: Machine) -> str:
    """Play it, being thrown out is no failure; what it did to the machine, empty for nothing."""
    async with assault(way) as them:
        with contextlib.suppress(*THROWN_OUT):
            async with asyncio.timeout(PLAY_SECONDS):
                await play(them)
        harm = await made.harm()
    return harm or await made.harm()


class Drawn(Protocol):
    """An attack that was made from a seed."""

    seed: str
    story: list[str]

    async def play(self, them: Assault) -> None:
        """Once, on one machine."""
        ...


async def siege(
    place: Field,
    seed: str,
    tries: int,
    *,
    seconds: float,
    first: int = 0,
    every: int = 20,
    draw: Callable[[str], Drawn] = Attack,
) -> Tally:
    """That many drawn attacks, or as many as fit into the time; at least one.

    Raises:
        Harmed: The promise is broken; says which seed, which try, and what it did.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    tally = Tally()
    for number in range(first, first + tries):
        attack = draw(f"{seed}/{number}")
        harm = await played(attack.play, place.way(), place.machine)
        if harm:
            raise Harmed(f"{attack.seed}: QEMU {harm}\n" + "\n".join(attack.story))
        tally.tries += 1
        await _quiet(place, attack)
        if tally.tries % every == 0 or loop.time() > end or number == first + tries - 1:
            await _looked_at(place, attack)
            tally.pictures += 1
        if loop.time() > end:
            break
    tally.slowest_answer = place.machine.slowest
    return tally


async def _quiet(place: Field, attack: Drawn) -> None:
    """Wait until the sessions of this attack are over: they must end by themselves."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while not place.is_quiet():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.002)
            return
    raise Harmed(f"{attack.seed}: a session does not end\n" + "\n".join(attack.story))


async def _looked_at(place: Field, attack: Drawn) -> None:
    try:
        await sees_a_picture(place.way())
    except (*THROWN_OUT, AssertionError) as exc:
        harm = await place.machine.harm() or "answers"
        raise Harmed(
            f"{attack.seed}: a fresh viewer gets no picture ({exc!r}), QEMU {harm}\n"
            + "\n".join(attack.story)
        ) from exc
    await _quiet(place, attack)
