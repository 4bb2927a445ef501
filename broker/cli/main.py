"""The console script: finds the command in the table, runs it, and turns what happens into words.

A command's module is imported only when that command runs; help, completion and the offer for a
misspelt word come from the table alone.
"""

from __future__ import annotations

import gc
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from broker import __version__
from broker.cli import commands
from broker.cli.diagnostics import EXIT_WORDS, Exit, Talk, exit_for, is_terminal, told_by
from broker.errors import BrokerError, UsageError
from broker.human import did_you_mean

if TYPE_CHECKING:
    from argparse import Namespace

    from broker.cli.verb import Verb

_SHORT = {"-q": "--quiet", "-h": "--help", "-V": "--version"}
BROKEN_PIPE = 141
"""What a shell shows for a process that SIGPIPE ended."""


def entry() -> None:
    """The `broker` command."""
    gc.disable()  # what is imported stays; looking through it again and again is waste
    code = main(sys.argv[1:])
    gc.freeze()  # the interpreter's last look for garbage would go through all that was imported
    sys.exit(code)


def main(argv: list[str]) -> int:
    """Run one command line; the exit code.

    Nothing is raised: every problem is said on stderr once and has its exit code.
    """
    ours = argv[: argv.index("--")] if "--" in argv else argv
    talk = Talk(json="--json" in ours)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        code = _dispatch(argv, talk)
        if sys.stdout is not None:
            sys.stdout.flush()
        return int(code)
    except BrokenPipeError:
        from broker.cli.output import drop_stdout

        drop_stdout()  # whoever read it has left; nothing more can be said there, also not at exit
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except SystemExit as exc:  # argparse has printed a help page
        return exc.code if isinstance(exc.code, int) else 0
    except BrokerError as exc:
        talk.problem(exc)
        return int(exit_for(exc))
    except Exception as exc:
        if (told := told_by(exc) or _no_text(exc, argv)) is not None:
            talk.problem(told)
            return int(exit_for(told))
        import logging

        logging.getLogger(__name__).debug("unforeseen", exc_info=exc)
        talk.bug(exc)
        return int(Exit.FAILED)


def _no_text(problem: Exception, argv: list[str]) -> UsageError | None:
    """Whether it failed over a word that is not UTF-8; a path may be so, nothing else may."""
    odd = [word for word in argv if any("\ud800" <= char <= "\udfff" for char in word)]
    if not odd or not isinstance(problem, UnicodeEncodeError):
        return None
    return UsageError(f"{odd[0]} is not text in UTF-8", fix="Name a machine by its uuid")


def _dispatch(argv: list[str], talk: Talk) -> int:
    before, words = _global_options(argv)
    if before.get("home"):
        os.environ["BROKER_HOME"] = str(before["home"])
    if "version" in before:
        from broker.cli.output import Output

        Output().text(f"broker {__version__}")
        return Exit.DONE
    if "help" in before or words[:1] == ["help"]:
        return _help(words[1:] if words[:1] == ["help"] else words)
    if not words:
        if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
            talk.help(overview())
            return Exit.USAGE
        words = ["tui"]
    if words[0] == "__complete":
        from broker.cli.complete import complete

        return complete(words[1:])
    command, rest = _find(words, talk)
    return _run(command, rest, before) if command else Exit.USAGE


def _global_options(argv: list[str]) -> tuple[dict[str, object], list[str]]:
    """The options before the command, and the rest.

    Options of the interface may stand without its command, as it is what opens without one.
    """
    before: dict[str, object] = {}
    rest = list(argv)
    interface = commands.find("tui")
    assert interface is not None
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        name, equals, value = _SHORT.get(word, word).partition("=")
        if name == "--home":
            if not equals:
                value = rest.pop(0) if rest else ""
            if not value:  # an empty variable of a script must not mean the real home
                raise UsageError("--home needs a directory", fix="Say: broker --home DIR …")
            before["home"] = value
        elif name == "--log-format":  # the command's own options say what it may be
            before["words"] = [word] if equals else [word, *rest[:1]]
            rest = rest if equals else rest[1:]
        elif name == "--verbose" or set(name[1:]) == {"v"}:
            louder = 1 if name == "--verbose" else len(name) - 1
            before["verbose"] = int(str(before.get("verbose", 0))) + louder
        elif name in commands.GLOBAL_OPTIONS and not equals:
            before[name[2:]] = True
        elif name in interface.options:
            return before, [interface.words, word, *rest]
        else:
            near = did_you_mean(name, (*commands.GLOBAL_OPTIONS, *interface.options))
            raise UsageError(f"{word} is not an option of broker", fix=near or "See: broker --help")
    return before, rest


def _find(words: list[str], talk: Talk) -> tuple[commands.Command | None, list[str]]:
    """The command that the words begin with; None when they only name a group (help is said).

    Raises:
        UsageError: There is no such command; the nearest is offered.
    """
    word = words[0]
    if word not in commands.GROUPS:
        command = commands.find(word)
        if command:
            return command, words[1:]
        near = did_you_mean(word, commands.first_words())
        raise UsageError(f"{word!r} is not a command", fix=near or "See: broker --help")
    if len(words) == 1 or words[1] in ("-h", "--help"):
        if len(words) == 1:
            talk.help(overview(word))
            return None, []
        raise SystemExit(_help([word]))
    command = commands.find(f"{word} {words[1]}")
    if command:
        return command, words[2:]
    verbs = [verb.words.split()[1] for verb in commands.verbs_of(word)]
    near = did_you_mean(words[1], verbs)
    raise UsageError(
        f"'{word} {words[1]}' is not a command", fix=near or f"See: broker {word} --help"
    )


def load(command: commands.Command) -> Verb:
    """Import the module of a command."""
    from importlib import import_module

    module, _, name = command.target.partition(":")
    verb: Verb = getattr(import_module(module), name)
    return verb


def _run(command: commands.Command, words: list[str], before: dict[str, object]) -> int:
    verb = load(command)
    words = [*cast("list[str]", before.get("words", [])), *words]
    asked = {key: before[key] for key in ("json", "quiet", "verbose") if key in before}
    if not words and verb.unasked is not None:  # the interface: its first rows wait for this
        return _call(verb, cast("Namespace", SimpleNamespace(**verb.unasked, **asked)))
    import argparse

    from broker.cli.args import Parser

    parser = Parser(command.words, command.help, verb.details)
    verb.arguments(parser)
    given = argparse.Namespace(**asked)
    if verb.takes_rest:
        end = words.index("--") if "--" in words else len(words)
        words, given.rest = words[:end], tuple(words[end + 1 :])
    return _call(verb, parser.parse(words, given))


def _call(verb: Verb, args: Namespace) -> int:
    from broker import logs
    from broker.cli.call import Call
    from broker.cli.output import Output

    json, quiet = getattr(args, "json", False), getattr(args, "quiet", False)
    verbose = getattr(args, "verbose", 0)
    form = getattr(args, "log_format", "json" if json else None)
    logs.configure(verbose, form=form)
    call = Call(
        out=Output(json=json),
        talk=Talk(json=json, quiet=quiet),
        verbose=verbose,
        log_format=form,
    )
    if not gc.isenabled():  # `entry` had it wait
        gc.freeze()
        gc.enable()
    return verb.run(call, args)


def _help(words: list[str]) -> int:
    """Print a help page on stdout, because it was asked for."""
    from broker.cli.output import Output

    if not words or (words[0] in commands.GROUPS and len(words) == 1):
        Output().text(overview(words[0] if words else ""))
        return Exit.DONE
    command, _ = _find(words, Talk())
    assert command is not None
    return _run(command, ["--help"], {})


def overview(group: str = "") -> str:
    """The help page of the whole program or of a group."""
    rows = commands.verbs_of(group) if group else commands.COMMANDS
    width = max(len(command.words) for command in rows)
    lines = [
        f"usage: broker [options] {group + ' ' if group else ''}COMMAND …",
        "",
        f"{commands.GROUPS[group]}." if group else "Every console you can reach, one command away.",
        "",
        "commands:",
        *(f"  {command.words:<{width}}  {command.help}" for command in rows),
    ]
    if not group:
        lines += [
            "",
            "Without a command, `broker` opens the terminal interface, with the options of `tui`.",
            "",
            "options:",
            "  --home DIR             keep configuration, data, state and sockets under DIR",
            "  --json                 print JSON; errors too, on stderr",
            "  -q, --quiet            say nothing but errors",
            "  -v, --verbose          log more; twice for all",
            "  --log-format FORMAT    text or json (log.format)",
            "  --version              print the version",
            "",
            "exit codes:",
            *(f"  {code.value:>3}  {words}" for code, words in EXIT_WORDS.items()),
        ]
    lines += ["", f"See also: broker {group + ' ' if group else ''}COMMAND --help"]
    return "\n".join(lines)
