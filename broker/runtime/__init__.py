"""Wiring: the one room that knows every other and puts them together, once.

- `quick()` answers `list` and `export-vv` without waking the heavy rooms;
- `open_service()` is the whole port, for the TUI and every other command;
- `serve()` hosts the proxy; `broker.worker` is the relay worker it starts.

The names are imported when they are used, so that the quick path stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.runtime.quick import Quick, quick, quick_list
    from broker.runtime.serving import serve
    from broker.runtime.wiring import open_service

__all__ = ["Quick", "open_service", "quick", "quick_list", "serve"]

_WHERE = {
    "Quick": "broker.runtime.quick",
    "quick": "broker.runtime.quick",
    "quick_list": "broker.runtime.quick",
    "open_service": "broker.runtime.wiring",
    "serve": "broker.runtime.serving",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for."""
    if (module := _WHERE.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value
