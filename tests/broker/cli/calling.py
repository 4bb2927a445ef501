"""Runs a command in this process, on a service in memory, and catches what it says."""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass, field

from broker.cli import commands
from broker.cli.args import Parser
from broker.cli.call import Call, Quick
from broker.cli.diagnostics import Exit, Talk, exit_for
from broker.cli.main import load
from broker.cli.output import Output
from broker.errors import BrokerError
from broker.model import MachineKey
from broker.service.port import ConsoleInfo, Exported, ExportRequest
from tests.fakes.service import FakeService


@dataclass
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str


@dataclass
class FakeQuick:
    """The fast path over the rows of a fake service."""

    service: FakeService
    closed: bool = False
    notes: tuple[str, ...] = ()
    exported: list[ExportRequest] = field(default_factory=list)

    def consoles(self) -> list[ConsoleInfo]:
        return list(self.service.rows)

    def find(self, reference: str) -> ConsoleInfo:
        return self.service.named(reference)

    def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        self.exported.append(request)
        return Exported("[virt-viewer]\ntype=spice\n", key, "quick", "127.0.0.1", 5920, None)

    def close(self) -> None:
        self.closed = True


def called(words: str, service: FakeService, *, quick: Quick | None = None) -> Ran:
    """Run a command line without its `broker`."""
    return called_with(words.split(), service, quick=quick)


def called_with(words: list[str], service: FakeService, *, quick: Quick | None = None) -> Ran:
    """Run a command of these words; errors become words and a code, as `main` has it."""
    length = 2 if words[0] in commands.GROUPS else 1
    command = commands.find(" ".join(words[:length]))
    assert command is not None
    verb, rest = load(command), words[length:]
    out, err = io.StringIO(), io.StringIO()
    json = "--json" in words
    talk = Talk(err, quiet="-q" in words, json=json)
    call = Call(
        out=Output(out, json=json),
        talk=talk,
        quick=lambda: quick,
        open_service=service.opened,
        proxy_status=lambda: service.proxy,
        verbose=rest.count("-v"),
    )
    parser = Parser(command.words, command.help, verb.details)
    verb.arguments(parser)
    given = argparse.Namespace()
    try:
        if verb.takes_rest:
            end = rest.index("--") if "--" in rest else len(rest)
            rest, given.rest = rest[:end], tuple(rest[end + 1 :])
        code = verb.run(call, parser.parse(rest, given))
    except BrokerError as problem:
        talk.problem(problem)
        code = exit_for(problem)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    return Ran(int(code), out.getvalue(), err.getvalue())
