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
        UsageError: There is none, or a variable that names it cannot be read.
    """
    for variable in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(variable, ""))
        except ValueError as exc:
            raise UsageError(
                f"{variable} cannot be read: {exc}",
                fix=f"Close the quote in it: export {variable}=vi",
            ) from exc
        if words:
            return words
    for name in EDITORS:
        if found := shutil.which(name):
            return [found]
    raise UsageError("No editor is installed", fix="Set EDITOR to one")
