"""Logging of the command line: to stderr, with secrets taken out on the way."""

from __future__ import annotations

import logging
import re
import sys

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
_TOKEN = re.compile(r"\b(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{32,}\b")

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""What none, one and two `-v` show."""


def redact(text: str) -> str:
    """A text without its secrets: named values go whole, bare tokens keep four characters."""
    for pattern in (_AUTHORIZATION, _BEARER, _NAMED):
        text = pattern.sub(lambda match: f"{match['name']}[redacted]", text)
    return _TOKEN.sub(lambda match: f"{match[0][:4]}…", text)


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


class JsonLines(logging.Formatter):
    """One JSON object a line, for a journal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as an object with `at`, `level`, `logger`, `text` and maybe `traceback`."""
        import json
        from datetime import UTC, datetime

        from broker.human import utc

        document = {
            "at": utc(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_text:
            document["traceback"] = record.exc_text
        return json.dumps(document, ensure_ascii=False)


def configure(verbose: int, *, json: bool = False, minimum: int | None = None) -> None:
    """Send the log to stderr.

    Args:
        verbose: How often `-v` was given.
        json: One object a line instead of text.
        minimum: A level that is shown without any `-v` (a proxy's own information).
    """
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Redaction())
    pattern = (
        "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "broker: %(message)s"
    )
    handler.setFormatter(JsonLines() if json else logging.Formatter(pattern))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(min(level, minimum or level))
    logging.captureWarnings(True)
