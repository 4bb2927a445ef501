"""`broker smoke`: everything once, for real, in a home of its own that is gone afterwards."""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb, one_of, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.doctor import say, step_document
from broker.cli.machine_options import add_machine, machine_fields
from broker.cli.run import image_spec
from broker.cli.smoke_home import fresh_home
from broker.cli.smoke_seats import SEATS, needed
from broker.clock import SystemClock
from broker.errors import BrokerError, UsageError
from broker.findings import Mark, Step
from broker.service.doctor import examine

if TYPE_CHECKING:
    from broker.cli.smoke_steps import Lane, Spine

STEP_SECONDS = 45.0
"""How long a step may take that has no time of its own, on a slow machine."""


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--keep", metavar="DIR", help="where the artefacts go (a new directory, which is named)"
    )
    parser.add_argument(
        "--client",
        type=one_of(SEATS),
        default=SEATS[0],
        metavar="VIEWER",
        help="who looks at the console: ours, ryll or remote-viewer (ours)",
    )
    parser.add_argument(
        "--budget",
        type=seconds,
        default=30.0,
        metavar="TIME",
        help="for the viewer, from connecting to an answered key (30s)",
    )
    group = parser.add_argument_group("a guest of yours, instead of the demo guest")
    group.add_argument("--image", metavar="IMAGE", help="its disk, which is not changed")
    group.add_argument("--format", metavar="FORMAT", help="its format (asked of qemu-img)")
    group.add_argument("--banner", metavar="TEXT", help="what its serial port says once it is up")
    group.add_argument(
        "--boot-timeout",
        type=seconds,
        default=300.0,
        metavar="TIME",
        help="how long until then (300s)",
    )
    add_machine(parser)


def _lane(args: Namespace) -> Lane:
    """What is to be tried.

    Raises:
        UsageError: The options do not go together, or the viewer is not installed.
    """
    from broker.cli.smoke_steps import Lane

    needed(args.client)
    if not args.image:
        given = [*machine_fields(args), *args.disk, *filter(None, (args.banner, args.format))]
        if given:
            raise UsageError(
                "The demo guest is as it is; options of a machine are for --image",
                fix="Name its disk: broker smoke --image disk.qcow2 --banner TEXT",
            )
        return Lane(client=args.client, budget=args.budget)
    if not args.banner:
        raise UsageError(
            "--image needs --banner TEXT: what its serial port says once it is up",
            fix="Say: broker smoke --image disk.qcow2 --firmware uefi --banner 'login:'",
        )
    options = {"name": "smoke", "bus": None, "read_only": False, "snapshot": True, "rest": ()}
    spec = image_spec(Namespace(**vars(args), **options))
    if not spec.serial:
        raise UsageError("--banner needs the serial port that --no-serial leaves out")
    return Lane(spec, args.banner, args.client, args.budget, args.boot_timeout)


def _run(call: Call, args: Namespace) -> Exit:
    import asyncio

    from broker.cli.smoke_steps import Spine

    lane = _lane(args)
    kept = _directory(args.keep)
    clock = SystemClock()
    began = clock.monotonic()

    async def walk() -> list[Step]:
        async with AsyncExitStack() as stack:
            spine = Spine(call.open_service, stack, kept, lane)
            try:
                return await _walked(
                    call, spine, STEP_SECONDS + max(lane.boot_seconds, lane.budget)
                )
            finally:
                await spine.clear_up()

    with fresh_home():
        steps = asyncio.run(walk())
    _report(call, steps, kept, clock.monotonic() - began)
    return Exit.FAILED if any(_failed(step) for step in steps) else Exit.DONE


async def _walked(call: Call, spine: Spine, longest: float) -> list[Step]:
    steps: list[Step] = []
    for checks, stop in ((spine.steps, True), (spine.last_steps, False)):
        taken = examine(checks(), SystemClock(), stop_at_failure=stop, step_seconds=longest)
        async for step in taken:
            say(call, step, timed=True)
            steps.append(step)
    return steps


def _failed(step: Step) -> bool:
    return step.finding.mark is Mark.FAIL


def _report(call: Call, steps: Sequence[Step], kept: Path, took: float) -> None:
    failed = next((step for step in steps if _failed(step)), None)
    document = {
        "ok": failed is None,
        "failed": failed.name if failed else None,
        "artefacts": str(kept),
        "seconds": round(took, 3),
        "steps": [step_document(step) for step in steps],
    }
    from broker.cli.smoke_steps import keep

    if call.out.json:
        call.out.document(document)
    keep(kept / "report.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if failed:
        if not call.out.json:
            call.out.text(f"\nbroken at {failed.name}; artefacts in {kept}")
        call.talk.problem(
            BrokerError(
                f"smoke: {failed.name} is broken: {failed.finding.words}",
                fix=failed.finding.fix or f"Look at the logs in {kept}",
            )
        )
    elif not call.out.json:
        call.out.text(f"\nall {len(steps)} steps held in {took:.1f} s; artefacts in {kept}")


def _directory(name: str | None) -> Path:
    """Where artefacts go; a directory only we can read, or one that was named.

    Raises:
        BrokerError: It cannot be made or written.
    """
    try:
        if name is None:
            return Path(tempfile.mkdtemp(prefix="broker-smoke-"))
        path = Path(name).absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as exc:
        raise BrokerError(
            f"{name or tempfile.gettempdir()} cannot hold the artefacts ({exc.strerror})",
            fix="Name another directory with --keep DIR",
        ) from exc


SMOKE = Verb(
    _arguments,
    _run,
    "It starts a demo guest and a proxy of its own, opens the guest's console through both,\n"
    "presses a key and looks for the answer; --client has another viewer do it, --image tries a\n"
    "guest of yours, whose disk is not changed. Exits 0 only when every step held. Nothing of\n"
    "yours is used or changed.",
)
