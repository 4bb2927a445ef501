"""`broker smoke`: everything once, for real, in a home of its own that is gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.doctor import say, step_document
from broker.clock import SystemClock
from broker.errors import BrokerError
from broker.findings import Mark, Step
from broker.service.doctor import examine

if TYPE_CHECKING:
    from broker.cli.smoke_steps import Spine

STEP_SECONDS = 45.0
"""How long one step may take, on a slow machine without KVM."""


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--keep", metavar="DIR", help="where the artefacts go (a new directory, which is named)"
    )


def _run(call: Call, args: Namespace) -> Exit:
    import asyncio

    from broker.cli.smoke_steps import Spine

    kept = _directory(args.keep)
    clock = SystemClock()
    began = clock.monotonic()

    async def walk() -> list[Step]:
        async with AsyncExitStack() as stack:
            spine = Spine(call.open_service, stack, kept)
            try:
                return await _walked(call, spine)
            finally:
                await spine.clear_up()

    with fresh_home():
        steps = asyncio.run(walk())
    seconds = clock.monotonic() - began
    _report(call, steps, kept, seconds)
    return Exit.FAILED if any(_failed(step) for step in steps) else Exit.DONE


async def _walked(call: Call, spine: Spine) -> list[Step]:
    steps: list[Step] = []
    for checks, stop in ((spine.steps, True), (spine.last_steps, False)):
        taken = examine(checks(), SystemClock(), stop_at_failure=stop, step_seconds=STEP_SECONDS)
        async for step in taken:
            say(call, step, timed=True)
            steps.append(step)
    return steps


def _failed(step: Step) -> bool:
    return step.finding.mark is Mark.FAIL


def _report(call: Call, steps: Sequence[Step], kept: Path, seconds: float) -> None:
    failed = next((step for step in steps if _failed(step)), None)
    document = {
        "ok": failed is None,
        "failed": failed.name if failed else None,
        "artefacts": str(kept),
        "seconds": round(seconds, 3),
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
        call.out.text(f"\nall {len(steps)} steps held in {seconds:.1f} s; artefacts in {kept}")


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


@contextmanager
def fresh_home() -> Iterator[Path]:
    """A BROKER_HOME with nothing in it and a path short enough for sockets; removed at the end.

    Settings in the environment are hidden, and the proxy takes a free port, so that a broker
    which is in use on this host is left alone.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("BROKER_")}
    home = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))
    for name in before:
        del os.environ[name]
    os.environ |= {"BROKER_HOME": str(home), "BROKER_PROXY_TLS_PORT": "0"}
    try:
        yield home
    finally:
        for name in ("BROKER_HOME", "BROKER_PROXY_TLS_PORT"):
            del os.environ[name]
        os.environ |= before
        shutil.rmtree(home, ignore_errors=True)


SMOKE = Verb(
    _arguments,
    _run,
    "It starts a demo guest and a proxy of its own, opens the guest's console through both,\n"
    "presses a key and looks for the answer. Exits 0 only when every step held. Nothing of yours\n"
    "is used or changed.",
)
