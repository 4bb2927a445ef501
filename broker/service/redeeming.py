"""From a console token that a hypervisor gave somebody to the console that it stands for.

The token only names a machine here: whoever shows it goes through our proxy like everybody else,
and the machine is looked up anew when the viewer arrives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from urllib.parse import parse_qs

from broker.driver import Driver
from broker.errors import BrokerError, NotFound, UsageError
from broker.hypervisor import TokenReader
from broker.model import MachineKey, SourceName

TOKEN_MAX = 4096
"""Characters of the longest text that is taken for a token, or a URL with one."""


class Drivers(Protocol):
    """The drivers of sources."""

    async def driver(self, name: SourceName) -> Driver:
        """That of one."""
        ...


def token_in(text: str) -> str:
    """The token itself, of a URL that a hypervisor gave or as it is.

    Raises:
        UsageError: There is none in it; it is not quoted.
    """
    found = text.strip()
    if "://" in found:
        found = (parse_qs(found.partition("?")[2]).get("token") or [""])[0]
    if not found or len(found) > TOKEN_MAX or not found.isascii() or len(found.split()) != 1:
        raise UsageError(
            "That is no console token, and no URL with one",
            fix="Give what `openstack console url show --spice-direct` printed, or Shaken Fist's "
            "vdiconsoleproxy told",
        )
    return found


async def redeem(text: str, drivers: Drivers, sources: Iterable[SourceName]) -> MachineKey:
    """The machine that a token stands for: each source that knows such tokens is asked in turn.

    Raises:
        UsageError: It is no token.
        NotFound: No source knows it.
        BrokerError: None knows it, and one could not be asked.
    """
    token = token_in(text)
    trouble: BrokerError | None = None
    asked = False
    for name in sources:
        try:
            driver = await drivers.driver(name)
            if isinstance(driver, TokenReader):
                asked = True
                return MachineKey(name, await driver.machine_of_token(token))
        except NotFound:
            continue
        except BrokerError as problem:
            trouble = trouble or problem
    if trouble is not None:
        raise trouble
    raise NotFound(
        "No source knows that console token" if asked else "No source has console tokens",
        fix="Ask for a new one; they are good for minutes"
        if asked
        else "They are read by sources of the types openstack and shakenfist",
    )
