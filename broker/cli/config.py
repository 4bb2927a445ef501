"""`broker config …`: where files live, which settings hold and why, and what is wrong."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb, one_of
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, error_document
from broker.cli.vm import no_arguments
from broker.errors import BrokerError

if TYPE_CHECKING:
    from broker.config.locations import Locations
    from broker.config.settings import Settings

PLACES = (
    "config_dir",
    "broker_yaml",
    "sources_yaml",
    "keys_yaml",
    "data_dir",
    "state_dir",
    "database",
    "pki_dir",
    "secret_key",
    "logs_dir",
    "runtime_dir",
)
"""What `config path` knows, in its order."""

_PASSWORD_IN_URL = re.compile(r"(://[^:/@]*:)[^@]*@")


def _locations() -> Locations:
    from broker.config.locations import Locations

    return Locations.from_env()


# --- config path -------------------------------------------------------------------------------


def _path_arguments(parser: Parser) -> None:
    parser.add_argument(
        "which", nargs="?", type=one_of(PLACES), metavar="WHICH", help=f"one of {', '.join(PLACES)}"
    )


def _path(call: Call, args: Namespace) -> Exit:
    locations = _locations()
    places = {name: str(getattr(locations, name)) for name in PLACES}
    if args.which:
        places = {args.which: places[args.which]}
    if call.out.json:
        call.out.document(places)
    elif args.which:
        call.out.text(places[args.which])
    else:
        call.out.facts(places.items())
    return Exit.DONE


# --- config show -------------------------------------------------------------------------------


def _show(call: Call, args: Namespace) -> Exit:
    from broker.config.load import load_settings

    del args
    loaded = load_settings(_locations())
    for warning in loaded.warnings:
        call.talk.note(warning)
    rows = [
        (name, value, loaded.provenance.get(name, "default"))
        for name, value in settings_of(loaded.settings)
    ]
    if call.out.json:
        call.out.document({name: {"value": value, "from": origin} for name, value, origin in rows})
    else:
        call.out.table(
            ("SETTING", "VALUE", "FROM"),
            [(name, _words(value), origin) for name, value, origin in rows],
        )
    return Exit.DONE


def settings_of(settings: Settings) -> Iterator[tuple[str, object]]:
    """Every setting as `group.key` and its value, a password in an URL taken out."""
    for group in fields(settings):
        values = getattr(settings, group.name)
        for key in fields(values):
            value = getattr(values, key.name)
            if isinstance(value, str):
                value = _PASSWORD_IN_URL.sub(r"\1…@", value)
            yield f"{group.name}.{key.name}", value


def _words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else f"{value:.0f}"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "-"
    return str(value)


# --- config check ------------------------------------------------------------------------------


def _check(call: Call, args: Namespace) -> Exit:
    del args
    locations = _locations()
    problems: list[BrokerError] = []
    warnings: list[str] = []
    for file, look in (
        (locations.broker_yaml, _check_settings),
        (locations.sources_yaml, _check_sources),
    ):
        found = look(locations, warnings)
        problems += found
        if not call.out.json:
            call.out.text(f"{file}: {_verdict(file, found)}")
    if call.out.json:
        documents = [error_document(problem) for problem in problems]
        call.out.document({"ok": not problems, "problems": documents, "warnings": warnings})
    else:
        for warning in warnings:
            call.talk.note(warning)
        for problem in problems:
            call.talk.problem(problem)
    return Exit.USAGE if problems else Exit.DONE


def _verdict(file: Path, problems: list[BrokerError]) -> str:
    if problems:
        return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "fine" if file.exists() else "not there, so defaults hold"


def _check_settings(locations: Locations, warnings: list[str]) -> list[BrokerError]:
    from broker.config.load import load_settings

    try:
        warnings += load_settings(locations).warnings
    except BrokerError as exc:
        return [exc]
    return []


def _check_sources(locations: Locations, warnings: list[str]) -> list[BrokerError]:
    """Every source's options, each judged by its driver; no source is asked for its machines."""
    import asyncio

    from broker.clock import SystemClock
    from broker.config.settings import Settings
    from broker.config.sources_file import SourceEntry, read_sources
    from broker.driver import Driver
    from broker.runtime.wiring import driver_context, make_driver

    try:
        file = read_sources(locations.sources_yaml)
    except BrokerError as exc:
        return [exc]
    warnings += file.warnings
    context = driver_context(locations, Settings(), SystemClock())

    async def make(entry: SourceEntry) -> Driver:
        driver = make_driver(entry, context)
        await driver.aclose()
        return driver

    problems: list[BrokerError] = []
    for entry in file.entries:
        try:
            warnings += (f"{entry.name}: {each}" for each in asyncio.run(make(entry)).warnings)
        except BrokerError as exc:
            problems.append(exc)
    return problems


PATH = Verb(_path_arguments, _path, "For example: $EDITOR $(broker config path sources_yaml)")
SHOW = Verb(no_arguments, _show)
CHECK = Verb(no_arguments, _check, "Exits 2 when something is wrong. No source is contacted.")
