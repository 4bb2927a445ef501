"""Each named attack against a machine of its own: bare, behind others, and behind us.

HOW is `bare`, `relay` (plain TCP), `kerbside` (its proxy, fetched from the package index), or a way
of ours to the machine: `hand-over`, `tcp`, `tls`, `unix`; and for viewers that come by the proxy's
private socket, as our own do, `private` (handed over) and `private-tls`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.adversary import plays
from tests.adversary.machines import WAYS, field_of, sees_a_picture
from tests.adversary.trial import played
from tests.adversary.usb_plays import USB

EVERY = {**plays.ALL, **USB}


async def outcome(how: str, play: plays.Play) -> str:
    """What one attack did to a machine of its own."""
    with tempfile.TemporaryDirectory(prefix="cbs", dir="/tmp") as name:
        async with field_of(how, Path(name)) as place:
            await sees_a_picture(place.way())  # who cannot get in harms nobody
            return await played(play, place.way(), place.machine) or "lives"


async def table(hows: list[str]) -> bool:
    """Print what becomes of the machines; whether all of ours live."""
    say = sys.stdout.write
    lived: dict[str, list[str]] = defaultdict(list)
    say(f"| attack | {' | '.join(hows)} |\n|{' --- |' * (len(hows) + 1)}\n")
    for name, play in EVERY.items():
        said = [await outcome(how, play) for how in hows]
        for how, what in zip(hows, said, strict=True):
            if what == "lives":
                lived[how].append(name)
        say(f"| {name} | {' | '.join(said)} |\n")
        sys.stdout.flush()
    for title, those in (("the eleven", plays.ELEVEN), ("all", EVERY)):
        counts = [f"{sum(n in those for n in lived[how])} of {len(those)} live" for how in hows]
        say(f"| {title} | {' | '.join(counts)} |\n")
    return all(len(lived[how]) == len(EVERY) for how in hows if how in WAYS)


def main() -> int:
    """The table on stdout; 1 when a machine of ours was harmed."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversary", description=__doc__)
    parser.add_argument("hows", nargs="*", metavar="HOW", default=["bare", "relay", *WAYS])
    return 0 if asyncio.run(table(parser.parse_args().hows)) else 1


if __name__ == "__main__":
    sys.exit(main())
