"""Entries of sources.yaml as a face edits them. See `broker.service.configuring` for each verb."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from broker.driver import Driver
from broker.errors import BrokerError, ConfigError
from broker.findings import Step, broken
from broker.hypervisor import Described, Vetting
from broker.model import Console, SourceName
from broker.service.configuring import Draft, SourceType
from broker.service.source_verbs import look_into

if TYPE_CHECKING:
    from pathlib import Path

    from broker.clock import Clock
    from broker.config.sources_edit import SourcesEditor
    from broker.config.sources_file import SourceEntry

_NEW_UUID = "00000000-0000-0000-0000-000000000000"


class ReadAgain(Protocol):
    """What is needed of the sources."""

    async def read_file(self) -> None:
        """Take sources.yaml up."""
        ...

    async def refresh_source(self, name: SourceName) -> None:
        """Store what that source shows now."""
        ...


class DraftingVerbs:
    """Slices of the service.

    Args:
        editor: Of sources.yaml.
        make_driver: The driver of an entry; ConfigError when it is wrong.
        look_at: What answers where a console is said to be; never an error.
    """

    _clock: Clock

    def __init__(
        self,
        editor: SourcesEditor,
        make_driver: Callable[[SourceEntry], Driver],
        sources: ReadAgain,
        look_at: Callable[[Console, Clock], Awaitable[Sequence[Step]]],
    ) -> None:
        self._editor = editor
        self._make_driver = make_driver
        self._reading = sources
        self._look_at = look_at

    async def source_types(self) -> Sequence[SourceType]:
        """Those that can be loaded."""
        return await asyncio.to_thread(_types)

    async def draft_of(self, name: SourceName, console: str | None = None) -> Draft:
        """As the file has it, without secrets."""
        return await asyncio.to_thread(self._draft_of, name, console)

    async def static_consoles(self, name: SourceName) -> Sequence[tuple[str, str]]:
        """Those with a uuid."""
        listed = await asyncio.to_thread(self._editor.consoles, name)
        return [(str(one["uuid"]), str(one.get("name", ""))) for one in listed if one.get("uuid")]

    async def vet(self, draft: Draft) -> Mapping[str, str]:
        """Option by option, then as a whole."""
        return await asyncio.to_thread(self._problems, draft)

    async def try_draft(self, draft: Draft) -> Sequence[Step]:
        """With a driver of its own; a console is looked at where it is."""
        try:
            entry = await asyncio.to_thread(self._entry, draft)
            driver = await asyncio.to_thread(self._make_driver, entry)
        except BrokerError as problem:
            return [_wrong(problem)]
        try:
            if draft.console is None:
                return await look_into(driver, self._clock)
            (machine,) = await driver.machines()
            console = await driver.console(machine.key.uuid)
        except BrokerError as problem:
            return [_wrong(problem)]
        finally:
            await driver.aclose()
        return await self._look_at(console, self._clock)

    async def save_draft(self, draft: Draft) -> None:
        """Checked, written, taken up."""
        await asyncio.to_thread(self._save, draft)
        await self._reading.read_file()
        if draft.console is not None:
            await self._reading.refresh_source(draft.source)

    async def remove_draft(self, draft: Draft) -> None:
        """Taken out, and forgotten."""
        if draft.console:
            act, what = self._editor.remove_console, (draft.source, draft.console)
            await asyncio.to_thread(act, *what, seen=draft.seen)
        else:
            await asyncio.to_thread(self._editor.remove, draft.source, seen=draft.seen)
        await self._reading.read_file()
        if draft.console:
            await self._reading.refresh_source(draft.source)

    async def sources_file(self) -> Path:
        """For an editor."""
        path = self._editor.path
        try:
            await asyncio.to_thread(path.touch, 0o600)
        except OSError as exc:
            raise ConfigError(
                f"{path}: cannot be made or written ({exc.strerror})",
                fix="See that it and its directory are yours",
            ) from exc
        return path

    async def take_up_sources(self) -> Sequence[str]:
        """After an editor."""
        from broker.config.sources_file import read_sources

        try:
            file = await asyncio.to_thread(read_sources, self._editor.path)
        finally:
            await self._reading.read_file()
        odd = list(file.warnings)
        for entry in file.entries:
            try:
                driver = await asyncio.to_thread(self._make_driver, entry)
            except BrokerError as problem:
                odd.append(str(problem))
            else:
                odd += (f"{entry.name}: {each}" for each in driver.warnings)
                await driver.aclose()
        return odd

    # -- in a thread

    def _draft_of(self, name: SourceName, console: str | None) -> Draft:
        from broker.config.sources_edit import seen_of

        entry = self._editor.entry(name)
        said = entry.options if console is None else self._editor.console(name, console)
        known = _known(entry.type, of_console=console is not None)
        kept = tuple(
            key
            for key, value in said.items()
            if value is not None and known.get(key, {}).get("writeOnly")
        )
        unknown = tuple(key for key in said if known and key not in known)
        shown = {key: value for key, value in said.items() if key not in (*kept, *unknown)}
        return Draft(
            entry.name, entry.type, shown, kept, unknown, seen=seen_of(said), console=console
        )

    def _options(self, draft: Draft) -> Mapping[str, object]:
        """With what was kept back."""
        if not draft.kept:
            return draft.options
        was = (
            self._editor.console(draft.source, draft.console)
            if draft.console
            else self._editor.entry(draft.source).options
        )
        kept = {key: was[key] for key in draft.kept if key in was}
        return {**kept, **draft.options}

    def _entry(self, draft: Draft) -> SourceEntry:
        """A source that says what the draft does, a console alone in it."""
        from broker.config.sources_file import SourceEntry

        options = self._options(draft)
        if draft.console is not None:
            options = {"consoles": [{"uuid": _NEW_UUID, **options}]}
        return SourceEntry(draft.source, draft.type, options)

    def _problems(self, draft: Draft) -> Mapping[str, str]:
        from broker.plugins import driver_class

        try:
            entry = self._entry(draft)
            found = driver_class(draft.type)
            if isinstance(found, Vetting):
                wrong = found.option_problems(entry.options)
                lead = "" if draft.console is None else "consoles.0"
                told = {key.removeprefix(lead).lstrip("."): text for key, text in wrong.items()}
                if told:
                    return told
            self._make_driver(entry)
        except BrokerError as problem:
            return {"": _without_file(problem, draft.source)}
        return {}

    def _save(self, draft: Draft) -> None:
        from broker.config.sources_file import SourceEntry

        if problems := self._problems(draft):
            key, text = next(iter(problems.items()))
            raise ConfigError(f"{draft.source}: {f'{key} {text}' if key else text}")
        options = self._options(draft)
        if draft.console is None:
            entry = SourceEntry(draft.source, draft.type, options)
            self._editor.put(entry, seen=draft.seen)
        else:
            self._editor.put_console(draft.source, options, uuid=draft.console, seen=draft.seen)


def _types() -> Sequence[SourceType]:
    from broker.plugins import driver_class, driver_types

    found = []
    for name in driver_types():
        try:
            driver = driver_class(name)
        except ConfigError:
            continue
        schema = driver.options_schema() if issubclass(driver, Described) else {}
        found.append(SourceType(name, schema))
    return found


def _known(type_name: str, *, of_console: bool) -> Mapping[str, Mapping[str, object]]:
    """What the options of a type are, by key; nothing when its driver does not tell."""
    from broker.plugins import driver_class

    driver = driver_class(type_name)
    schema: object = driver.options_schema() if issubclass(driver, Described) else {}
    way = ("properties", "consoles", "items", "properties") if of_console else ("properties",)
    for step in way:
        schema = schema.get(step) if isinstance(schema, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}


def _wrong(problem: BrokerError) -> Step:
    return Step("entry", broken(problem.what, problem.fix or "Correct the entry"), 0.0)


def _without_file(problem: BrokerError, source: str) -> str:
    """An error of a driver's as it reads beside a form."""
    said = problem.what.removeprefix("sources.yaml: ").removeprefix(source).lstrip(": ")
    said = said.removeprefix("console 1").lstrip()
    return f"{said}. {problem.fix}" if problem.fix else said
