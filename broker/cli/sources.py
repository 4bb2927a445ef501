"""`broker sources`: where consoles come from, and which of those places are in trouble."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.errors import UsageError
from broker.findings import Mark
from broker.human import counted, did_you_mean, one_line, utc
from broker.model import Health, SourceName, SourceStatus

if TYPE_CHECKING:
    from broker.service.port import Service


ACTIONS = ("list", "check", "pause", "resume", "retry", "schema")
"""What can be done besides listing; all but `list` want a name, `schema` that of a type."""


def _arguments(parser: Parser) -> None:
    parser.add_argument("--refresh", action="store_true", help="ask every source first")
    parser.add_argument(
        "action", nargs="?", choices=ACTIONS, default="list", help="list unless said"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a source; for schema, a type")


def _run(call: Call, args: Namespace) -> Exit:
    if args.action == "list":
        if args.name is not None:
            raise UsageError(
                "`broker sources list` takes no name", fix="Try: broker sources check NAME"
            )
        return _list(call, refresh=args.refresh)
    if args.name is None:
        what = "a type of source" if args.action == "schema" else "a source"
        raise UsageError(f"`broker sources {args.action}` wants {what}", fix="See: broker sources")
    act = {
        "check": _check,
        "pause": _pause,
        "resume": _retry,
        "retry": _retry,
        "schema": _schema,
    }[args.action]
    return act(call, args.name)


def _check(call: Call, name: str) -> Exit:
    from broker.cli.doctor import say, step_document

    steps = call.ask(lambda service: service.check_source(SourceName(name)))
    for step in steps:
        say(call, step, timed=True)
    failed = [step for step in steps if step.finding.mark is Mark.FAIL]
    if call.out.json:
        told = [step_document(step) for step in steps]
        call.out.document({"source": name, "ok": not failed, "steps": told})
    return Exit.UNREACHABLE if failed else Exit.DONE


def _pause(call: Call, name: str) -> Exit:
    call.ask(lambda service: service.pause_source(SourceName(name)))
    return _one(call, name)


def _retry(call: Call, name: str) -> Exit:
    call.ask(lambda service: service.retry_source(SourceName(name)))
    return _one(call, name)


def _one(call: Call, name: str) -> Exit:
    status = next(each for each in call.ask(lambda service: service.sources()) if each.name == name)
    if call.out.json:
        call.out.document(jsonable.source(status))
    else:
        machines = counted(status.machines, "machine")
        call.out.text(f"{status.name}: {status.health.value}, {machines}")
    return Exit.DONE


def _schema(call: Call, name: str) -> Exit:
    from broker.hypervisor import Described
    from broker.plugins import driver_class, driver_types

    if name not in (types := driver_types()):
        raise UsageError(
            f"There is no type of source called {one_line(name)}",
            fix=did_you_mean(name, types) or f"There are: {', '.join(types)}",
        )
    found = driver_class(name)
    if not issubclass(found, Described):
        raise UsageError(
            f"The driver for {name} does not describe its options",
            fix="They stand in docs/sources-yaml.md",
        )
    call.out.document(dict(found.options_schema()))
    return Exit.DONE


def _list(call: Call, *, refresh: bool) -> Exit:
    async def ask(service: Service) -> Sequence[SourceStatus]:
        return await (service.refresh() if refresh else service.sources())

    statuses = call.ask(ask)
    if call.out.json:
        call.out.document([jsonable.source(status) for status in statuses])
    else:
        call.out.table(
            ("SOURCE", "TYPE", "HEALTH", "MACHINES", "LISTED", "PROBLEM"),
            [_row(status) for status in statuses],
            colours=(2, COLOURS),
        )
        _say(call, statuses)
    failed = any(status.health is Health.FAILED for status in statuses)
    return Exit.UNREACHABLE if failed else Exit.DONE


COLOURS = {
    Health.OK.value: "green",
    Health.DEGRADED.value: "yellow",
    Health.PAUSED.value: "yellow",
    Health.FAILED.value: "red",
}


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
    "Exits 4 when a source is in trouble; what was known of its consoles is kept and listed.\n"
    "check logs in, lists, and says which rights are missing. pause leaves a source alone, also\n"
    "when a console of it is opened, until resume; retry asks one anew that was backed off from.\n"
    "schema prints what an entry of a type may say, as JSON Schema.",
)
