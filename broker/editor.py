"""Which editor a person uses for text."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Final

from broker.errors import UsageError

EDITORS: Final = ("sensible-editor", "nano", "vi")
"""Tried in this order where neither VISUAL nor EDITOR names one."""


def editor() -> list[str]:
    """Its words, to which a file's path is added.

    Raises:
        UsageError: There is none.
    """
    for variable in ("VISUAL", "EDITOR"):
        if words := shlex.split(os.environ.get(variable, "")):
            return words
    for name in EDITORS:
        if found := shutil.which(name):
            return [found]
    raise UsageError("No editor is installed", fix="Set EDITOR to one")
