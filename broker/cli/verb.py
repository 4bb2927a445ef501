"""What the command table points to. Without argparse, which a lone `broker` does not wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from argparse import Namespace

    from broker.cli.call import Call
    from broker.cli.diagnostics import Exit


class Verb(NamedTuple):
    """What a command module offers to the table.

    Attributes:
        arguments: Adds the command's own arguments to its parser, an `args.Parser`.
        run: Does it.
        details: More than the help line says, for `--help`.
        takes_rest: What follows `--` is not ours; it comes as `args.rest`.
        unasked: Its arguments where none is given; with that, nothing is parsed then.
    """

    arguments: Callable[[Any], None]
    run: Callable[[Call, Namespace], Exit]
    details: str = ""
    takes_rest: bool = False
    unasked: Mapping[str, object] | None = None
