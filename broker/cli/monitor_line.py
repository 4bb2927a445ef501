"""What a person types at a monitor, as what QEMU is asked."""

from __future__ import annotations

import json
import shlex

from broker.errors import UsageError

Asked = str | tuple[str, dict[str, object]]
"""A line for people's monitor, or a command of QMP and its arguments."""


def parse(line: str, *, qmp: bool) -> Asked:
    """A line: QMP when it is wanted or looks so, else as it is.

    QMP is a JSON object with `execute` and `arguments`, or `COMMAND KEY=VALUE …`; a value is JSON
    where it can be, else text, and `a.b=1` is `b` within `a`.

    Raises:
        UsageError: It is neither.
    """
    line = line.strip()
    try:
        line.encode()
    except UnicodeEncodeError as exc:
        raise UsageError(
            "That line is not UTF-8, and QEMU's monitor takes nothing else",
            fix="Write it in UTF-8; iconv turns a file into it",
        ) from exc
    if line.startswith("{"):
        return _object(line)
    if not qmp:
        return line
    try:
        command, *pairs = shlex.split(line)
    except ValueError as exc:
        raise UsageError(f"{line!r} cannot be read: {exc}", fix="Close the quotes") from exc
    arguments: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(
                f"{pair!r} is not KEY=VALUE", fix=f"Say: {command} KEY=VALUE …, or a JSON object"
            )
        _put(arguments, key.split("."), _value(value))
    return command, arguments


def _object(line: str) -> Asked:
    fix = 'Say: {"execute": "query-status"}'
    try:
        said = json.loads(line)
    except ValueError as exc:
        raise UsageError(f"That is not JSON: {exc}", fix=fix) from exc
    arguments = said.get("arguments", {})
    if not isinstance(said.get("execute"), str) or not isinstance(arguments, dict):
        raise UsageError("That is no command of QMP", fix=fix)
    return said["execute"], arguments


def _put(into: dict[str, object], path: list[str], value: object) -> None:
    *outer, last = path
    for key in outer:
        within = into.setdefault(key, {})
        if not isinstance(within, dict):
            raise UsageError(f"{key} has a value already, so nothing can be within it")
        into = within
    into[last] = value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
