"""The table, the page about it and the documents agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from broker.cli import commands, jsonable
from broker.model import MachineId, MachineKey, ProxyStatus, SourceName
from broker.service.port import Exported
from tests.fakes.service import NOW, FakeService, console, session, sources

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def test_no_two_commands_have_the_same_words() -> None:
    words = [command.words for command in commands.COMMANDS]
    assert len(set(words)) == len(words)


def test_every_group_has_verbs_and_every_second_word_a_group() -> None:
    assert all(commands.verbs_of(group) for group in commands.GROUPS)
    assert {each.words.split()[0] for each in commands.COMMANDS if " " in each.words} == set(
        commands.GROUPS
    )


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.words)
def test_a_help_line_is_short_and_has_no_period(command: commands.Command) -> None:
    assert len(command.help) < 70
    assert not command.help.endswith(".")
    assert command.help[0].isupper()


@pytest.mark.parametrize(
    "option", sorted({option for command in commands.COMMANDS for option in command.options})
)
def test_every_option_is_in_the_page(option: str) -> None:
    assert option in PAGE


EXPORTED = Exported("", MachineKey(SourceName("a"), MachineId("b")), "web", "h", 1, NOW)


@pytest.mark.parametrize(
    "document",
    [
        jsonable.shown(console("web"), [session(console("web"), "a", "b")]),
        jsonable.vm(console("web").machine),
        jsonable.exported(EXPORTED, "web.vv"),
        jsonable.session(session(console("web"), "a", "b")),
        jsonable.source(sources()[0]),
        jsonable.proxy(ProxyStatus(serving=True)),
    ],
    ids=["show", "vm", "export", "session", "source", "status"],
)
def test_every_key_is_in_the_page(document: jsonable.Document) -> None:
    assert [key for key in document if f"`{key}`" not in PAGE] == []


def test_every_key_of_an_event_is_in_the_page() -> None:
    from broker.events import Kind

    service = FakeService()
    service.say(Kind.MACHINE_STARTED, "x", service.rows[0])
    assert [key for key in jsonable.event(service.log[0]) if f"`{key}`" not in PAGE] == []


ROOT = Path(__file__).parents[3]
SPOKEN = re.compile(r"""(?:: |say |or |`|\(|^)broker ([a-z-]+(?: [^"'`,;).]*)?)""", re.MULTILINE)


def advised() -> list[tuple[str, str]]:
    """Each `broker …` in a text of the program, and the file that says it."""
    found = []
    for room in ("broker", "sources", "tui"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found += [
                        (words, str(file.relative_to(ROOT))) for words in SPOKEN.findall(node.value)
                    ]
    return sorted(set(found))


@pytest.mark.parametrize(("words", "file"), advised())
def test_what_a_message_says_to_type_can_be_typed(words: str, file: str) -> None:
    first, *rest = words.split()
    if first not in commands.first_words() or rest[:1] == ["…"]:
        return
    if first in commands.GROUPS:
        first = f"{first} {rest.pop(0)}" if rest else first
        if first in commands.GROUPS:
            return
    command = commands.find(first)
    assert command is not None, file
    options = {word.partition("=")[0] for word in rest if word.startswith("--") and word != "--"}
    assert options <= {*command.options, *commands.COMMON_OPTIONS}, file
