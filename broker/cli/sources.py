"""`broker sources`: where consoles come from, and which of those places are in trouble."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.human import utc
from broker.model import Health, SourceStatus

if TYPE_CHECKING:
    from broker.service.port import Service


def _arguments(parser: Parser) -> None:
    parser.add_argument("--refresh", action="store_true", help="ask every source first")


def _run(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Sequence[SourceStatus]:
        return await (service.refresh() if args.refresh else service.sources())

    statuses = call.ask(ask)
    if call.out.json:
        call.out.document([jsonable.source(status) for status in statuses])
    else:
        call.out.table(
            ("SOURCE", "TYPE", "HEALTH", "MACHINES", "LISTED", "PROBLEM"),
            [_row(status) for status in statuses],
            colours=(2, {Health.OK.value: "green", Health.FAILED.value: "red"}),
        )
        _say(call, statuses)
    failed = any(status.health is Health.FAILED for status in statuses)
    return Exit.UNREACHABLE if failed else Exit.DONE


def _row(status: SourceStatus) -> tuple[str, ...]:
    return (
        status.name,
        status.type,
        status.health.value,
        str(status.machines),
        utc(status.listed_at) if status.listed_at else "",
        status.problem,
    )


def _say(call: Call, statuses: Sequence[SourceStatus]) -> None:
    for status in statuses:
        if status.fix:
            call.talk.note(f"{status.name}: {status.fix}")
        for warning in status.warnings:
            call.talk.note(f"{status.name}: {warning}")


SOURCES = Verb(
    _arguments,
    _run,
    "Exits 4 when a source is in trouble; what was known of its consoles is kept and listed.",
)
