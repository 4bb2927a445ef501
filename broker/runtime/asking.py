"""Asking a machine's source where its screen is, at the moment that somebody wants it."""

from __future__ import annotations

import socket

from broker.errors import NoConsole
from broker.hypervisor import ChannelGiver
from broker.model import GivenTarget
from broker.reconcile.inventory import Inventory
from broker.vm.handover import tcp_pair


async def give_channel(inventory: Inventory, target: GivenTarget) -> socket.socket:
    """One end of a connection whose other end the machine's SPICE server has.

    It is TCP on the loopback: over a unix pair spice-server neither compresses nor pings.

    Raises:
        Unreachable: The hypervisor does not answer.
        NoConsole: The machine is off, or its source cannot do that.
    """
    driver = await inventory.driver(target.source)
    if not isinstance(driver, ChannelGiver):
        raise NoConsole(f"{target.source} hands no consoles over")
    ours, theirs = await tcp_pair()
    try:
        with theirs:
            await driver.give_channel(target.machine, theirs)
    except BaseException:
        ours.close()
        raise
    return ours
