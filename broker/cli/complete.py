"""What a shell may offer next: answered from the table and from what is stored, in a moment.

`broker __complete [--help-lines] WORD…` prints candidates for the last word, one a line, each with
its help after a tab when that is asked for. The line `:files` alone means "offer files".
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.cli import commands
from broker.cli.output import Output
from broker.errors import BrokerError

_TAKE_SEVERAL = frozenset(
    f"vm {verb}" for verb in ("start", "stop", "kill", "pause", "resume", "reset", "delete")
)
"""Commands that take more than one name."""

Candidate = tuple[str, str]
"""A word and its help, which may be empty."""

FILES: Candidate = (":files", "")
_TAKES_FILE = (
    "--output",
    "-o",
    "--cdrom",
    "--disk",
    "--file",
    "-f",
    "--export",
    "--keep",
    "--home",
    "--floppy",
    "--kernel",
    "--initrd",
    "--cloud-init",
    "--write",
)
_TAKES_VALUE = (
    *_TAKES_FILE,
    *commands.CHOICES,
    "--after",
    "--append",
    "--card",
    "--cpu",
    "--cpus",
    "--env",
    "--interface",
    "--machine",
    "--spice-port",
    "--format",
    "--drive",
    "--forward",
    "--history",
    "--host",
    "--label",
    "--layout",
    "--limit",
    "--listen",
    "--memory",
    "--name",
    "--pace",
    "--source",
    "--state",
    "--timeout",
    "--tls-port",
    "--ttl",
    "--until",
    "--usb",
    "--wait",
    "-m",
    "-n",
)


def complete(words: list[str]) -> int:
    """Print what may stand in the place of the last word; always 0."""
    with_help = words[:1] == ["--help-lines"]
    words = words[1:] if with_help else words
    current = words[-1] if words else ""
    lines = [
        f"{word}\t{help_line}" if with_help and help_line else word
        for word, help_line in candidates(words[:-1], current)
        if word == FILES[0] or (word.startswith(current) and word.isprintable())
    ]
    if lines:
        Output().text("\n".join(lines))
    return 0


def candidates(before: list[str], current: str) -> Iterable[Candidate]:
    """What fits after these words.

    Args:
        before: The whole words after `broker`.
        current: What has been typed of the next.
    """
    command, given = _command(before)
    last = before[-1] if before else ""
    if last in commands.CHOICES:
        return [(word, "") for word in commands.CHOICES[last]]
    if last in _TAKES_FILE:
        return [FILES]
    if last == "--state":
        from broker.model import State

        return [(state.value, "") for state in State]
    if last in _TAKES_VALUE and not (last == "--wait" and _wait_is_a_flag(before)):
        return []
    if command is None:
        return _words(before, current)
    if current.startswith("-"):
        options = sorted({*command.options, *commands.COMMON_OPTIONS})
        return [(option, "") for option in options]
    if command.words in _TAKE_SEVERAL:
        return [each for each in _positional(command, 0) if each[0] not in given]
    return _positional(command, len(given))


def _command(before: list[str]) -> tuple[commands.Command | None, list[str]]:
    """The command those words begin with, and the positionals after it."""
    words = [word for word in _without_values(before) if not word.startswith("-")]
    for length in (2, 1):
        command = commands.find(" ".join(words[:length]))
        if command is not None and len(words) >= length:
            return command, words[length:]
    return None, words


def _without_values(words: list[str]) -> Iterable[str]:
    """The words without those that are values of options."""
    is_flag = _wait_is_a_flag(words)
    skip = False
    for word in words:
        if not skip:
            yield word
        skip = not skip and word in _TAKES_VALUE and not (is_flag and word == "--wait")


def _wait_is_a_flag(words: list[str]) -> bool:
    """`status --wait` takes a time, the others of that name nothing."""
    return words[:1] == ["open"] or words[:2] == ["vm", "stop"]


def _words(before: list[str], current: str) -> Iterable[Candidate]:
    """Commands, or the verbs of a group."""
    typed = [word for word in _without_values(before) if not word.startswith("-")]
    if typed:
        return [(each.words.split()[1], each.help) for each in commands.verbs_of(typed[0])]
    if current.startswith("-"):
        interface = commands.find("tui")
        options = interface.options if interface else ()
        return [(option, "") for option in (*commands.GLOBAL_OPTIONS, *options)]
    single = {each.words: each.help for each in commands.COMMANDS}
    return [
        (word, single.get(word) or commands.GROUPS.get(word, "")) for word in commands.first_words()
    ]


def _positional(command: commands.Command, given: int) -> Iterable[Candidate]:
    """What fits as its next positional, when so many stand there."""
    kinds = command.takes.split()
    if given >= len(kinds):
        return [FILES] if kinds[-1:] == ["file"] else []
    match kinds[given]:
        case choices if "|" in choices:
            return [(word, "") for word in choices.split("|")]
        case "file":
            return [FILES]
        case "shell":
            return [(shell, "") for shell in commands.SHELLS]
        case "console":
            return _machines(only_vms=False)
        case "vm":
            return _machines(only_vms=True)
        case "qemu":
            from broker.cli.vm_adopt import candidates

            return candidates()
        case _:
            return []


def _machines(*, only_vms: bool) -> Iterable[Candidate]:
    """Machines that are stored: their name where it is the only one, else `source/name`."""
    from broker.cli.call import runtime_quick

    try:
        quick = runtime_quick()
        if quick is None:
            return []
        try:
            machines = [info.machine for info in quick.consoles()]
        finally:
            quick.close()
    except BrokerError:
        return []
    names = [machine.name for machine in machines]
    return [
        (
            machine.name if names.count(machine.name) == 1 else machine.full_name,
            f"{machine.state.value} in {machine.key.source}",
        )
        for machine in machines
        if machine.defined or machine.adopted or not only_vms
    ]
