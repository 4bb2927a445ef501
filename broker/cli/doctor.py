"""`broker doctor [NAME]`: what is broken on this host, or on the way to one console."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.clock import SystemClock
from broker.findings import Mark, Step
from broker.service.doctor import examine, host_checks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.service.port import Service

COLOURS = {Mark.OK: "green", Mark.WARN: "yellow", Mark.FAIL: "red"}

BROKEN_AT = {
    "source": Exit.UNREACHABLE,
    "QMP": Exit.UNREACHABLE,
    "connection": Exit.UNREACHABLE,
    "SPICE": Exit.UNREACHABLE,
    "proxy": Exit.UNREACHABLE,
    "certificate": Exit.REFUSED,
    "ticket": Exit.REFUSED,
    "proxy TLS": Exit.REFUSED,
}
"""The exit code of a broken step on the way to a console; others are failures."""


def _arguments(parser: Parser) -> None:
    parser.add_argument("console", nargs="?", metavar="NAME", help="name, source/name or uuid")


def _run(call: Call, args: Namespace) -> Exit:
    steps = _walk(call, args.console) if args.console else _host(call)
    failed = [step for step in steps if step.finding.mark is Mark.FAIL]
    if call.out.json:
        call.out.document(
            {
                "console": args.console,
                "ok": not failed,
                "steps": [step_document(step) for step in steps],
            }
        )
    if not failed:
        return Exit.DONE
    return BROKEN_AT.get(failed[0].name, Exit.FAILED) if args.console else Exit.FAILED


def _host(call: Call) -> Sequence[Step]:
    import asyncio

    from broker.cli.host_probes import ThisHost

    async def look() -> Sequence[Step]:
        steps = []
        async for step in examine(host_checks(ThisHost()), SystemClock(), stop_at_failure=False):
            say(call, step)
            steps.append(step)
        return steps

    return asyncio.run(look())


def _walk(call: Call, reference: str) -> Sequence[Step]:
    async def look(service: Service) -> Sequence[Step]:
        info = await service.find(reference)
        steps = []
        async for step in service.diagnose(info.machine.key):
            say(call, step)
            steps.append(step)
        return steps

    return call.ask(look)


def say(call: Call, step: Step, *, timed: bool = False) -> None:
    """Print one step as it is done; with `--json` they come together at the end."""
    if call.out.json:
        return
    finding = step.finding
    mark = call.out.paint(COLOURS[finding.mark], f"{finding.mark.value:<4}")
    time = f"{step.seconds:6.2f} s  " if timed else ""
    call.out.text(f"{mark}  {time}{step.name:<11}  {finding.words}")
    if finding.fix and finding.mark is not Mark.OK:
        call.out.text(f"{'':{17 + len(time)}}  {finding.fix}")


def step_document(step: Step) -> dict[str, object]:
    """One step as `--json` prints it."""
    return {
        "name": step.name,
        "mark": step.finding.mark.value,
        "what": step.finding.words,
        "fix": step.finding.fix,
        "seconds": round(step.seconds, 3),
    }


DOCTOR = Verb(
    _arguments,
    _run,
    "Without a name, this host. With one, the path a viewer would walk to that console, up to the\n"
    "first broken step; nobody is thrown off the screen by it.",
)
