"""The log of every process: to stderr, as text or as JSON, with secrets taken out on the way.

A line may carry fields beside its text (`FIELDS`): what is passed as `extra`, and the session and
channel of the connection that it is about, which `about` sets once for a task.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final, TextIO

from broker.human import one_line

_NAMED = re.compile(
    r"""(?P<name>\b(?:password|passwd|ticket|token|secret)\b["']?\s*[=:]\s*)(?P<value>"[^"]*"|'[^']*'|[^\s,;&]+)""",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"""(?P<name>\bauthorization\b["']?\s*[=:]\s*)(?P<value>[^\r\n]+)""", re.IGNORECASE
)
_BEARER = re.compile(
    r"(?P<name>\b(?:bearer|basic|pveapitoken)[ =])\s*(?P<value>\S+)", re.IGNORECASE
)
_SUSPECT = re.compile(r"[=: ]|.{32}", re.DOTALL)
"""All of the patterns here need that much; most fields of a line are short words."""
_TOKEN = re.compile(r"\b(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{32,}\b")

FIELDS: Final = (
    "event", "session", "channel", "client", "console", "label", "verdict", "reason",
)  # fmt: skip
"""What a line may carry beside its text; keys of a JSON line, and of an event."""

BESIDE: Final = ("session", "channel", "client", "console", "label", "reason")
"""What stands behind a line of text for people, unless the text says it."""
OF_A_SESSION: Final = ("session", "channel", "reason")

_session: ContextVar[str] = ContextVar("session", default="")
_channel: ContextVar[str] = ContextVar("channel", default="")

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""What none, one and two `-v` show."""


def redact(text: str) -> str:
    """A text without its secrets: named values go whole, bare tokens keep four characters."""
    if _SUSPECT.search(text) is None:
        return text
    for pattern in (_AUTHORIZATION, _BEARER, _NAMED):
        text = pattern.sub(lambda match: f"{match['name']}[redacted]", text)
    return _TOKEN.sub(lambda match: f"{match[0][:4]}…", text)


def about(*, session: str = "", channel: str = "") -> None:
    """What this task logs from now on is about that session or channel."""
    if session:
        _session.set(session)
    if channel:
        _channel.set(channel)


def beside(text: str, fields: Mapping[str, str]) -> str:
    """`[session=… client=…]`: what is known beside a text; empty when that is nothing.

    Session and channel are always told, so that one can look for them; the rest unless the text
    has it.
    """
    from shlex import quote  # here, because most commands log nothing

    told = [
        f"{name}={quote(value)}"
        for name, value in fields.items()
        if value and (name in ("session", "channel") or value not in text)
    ]
    return f"[{one_line(' '.join(told))}]" if told else ""


class Fields(logging.Filter):
    """Gives every record the session and channel of its task, unless it names others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete the record; every record passes."""
        for name, known in (("session", _session), ("channel", _channel)):
            if not getattr(record, name, "") and (value := known.get()):
                setattr(record, name, value)
        return True


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """The fields that a record has, without secrets."""
    values = {name: getattr(record, name, "") for name in FIELDS}
    return {name: redact(str(value)) for name, value in values.items() if value}


class Redaction(logging.Filter):
    """Takes tokens, tickets, passwords and `Authorization` out of every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; every record passes."""
        record.msg = redact(record.getMessage())
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


class TextLines(logging.Formatter):
    """One line for people; what comes from elsewhere cannot begin another."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name
        """The line, and behind it what else is known: of a session its opening said the rest."""
        record.message = one_line(record.message)
        line = super().formatMessage(record)
        known = fields_of(record)
        names = OF_A_SESSION if "session" in known else BESIDE
        told = beside(record.message, {name: known.get(name, "") for name in names})
        return f"{line} {told}" if told else line


class JsonLines(logging.Formatter):
    """One JSON object a line, for a journal."""

    def __init__(self) -> None:
        import json

        super().__init__()
        self._encode = json.JSONEncoder(ensure_ascii=False).encode

    def format(self, record: logging.LogRecord) -> str:
        """The record: `at`, `level`, `logger`, `text`, `FIELDS`, and maybe `traceback`."""
        from datetime import UTC, datetime

        from broker.human import utc

        document = {
            "at": utc(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_text:
            document["traceback"] = record.exc_text
        return self._encode(document)


class Handler(logging.StreamHandler[TextIO]):
    """To stderr.

    Args:
        form: `text` or `json`; None leaves it to the setting, and is text until that is known.
        terse: A line of text is introduced by the program's name, not by time, level and logger.
    """

    def __init__(self, form: str | None, *, terse: bool) -> None:
        super().__init__(sys.stderr)
        self._terse = terse
        self._chosen = form is not None
        self._held: list[str] | None = None
        self.addFilter(Fields())
        self.addFilter(Redaction())
        self._take(form or "text")

    def prefer(self, form: str) -> None:
        """Write in that form, unless another was chosen."""
        if not self._chosen:
            self._take(form)

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or keep it until what belongs together is."""
        if self._held is None:
            super().emit(record)
            return
        try:
            self._held.append(self.format(record))
        except Exception:  # as logging has it: a line that cannot be made harms nobody
            self.handleError(record)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what comes in the body at once, at its end."""
        assert self.lock is not None
        with self.lock:
            first = self._held is None
            if first:
                self._held = []
        try:
            yield
        finally:
            with self.lock:
                if first:
                    held, self._held = self._held or (), None
                    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                        self.stream.write("".join(f"{line}{self.terminator}" for line in held))
                        self.flush()

    def _take(self, form: str) -> None:
        pattern = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        text = TextLines("broker: %(message)s" if self._terse else pattern)
        self.setFormatter(JsonLines() if form == "json" else text)


def configure(
    verbose: int, *, form: str | None = None, minimum: int | None = None, dated: bool = False
) -> None:
    """Send the log to stderr.

    Args:
        verbose: How often `-v` was given.
        form: `text` or `json`, as somebody chose; None leaves it to `log.format`.
        minimum: A level that is shown without any `-v` (a proxy's own information).
        dated: Lines begin with their time, level and logger without any `-v`, too.
    """
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(Handler(form, terse=not (verbose or dated)))
    root.setLevel(min(level, minimum or level))
    logging.captureWarnings(True)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Write what is logged in the body at once: each write lets other threads run meanwhile."""
    with contextlib.ExitStack() as held:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, Handler):
                held.enter_context(handler.together())
        yield


def prefer(form: str) -> None:
    """The form that the configuration asks for, where the command line chose none."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.prefer(form)
