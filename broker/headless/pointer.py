"""The mouse of a session without a window.

Where the guest takes a pointer's place (it has a tablet in use, or its agent is connected) the
pointer is told where to be; elsewhere only how far to move. `Session.mouse_mode` says which.

Source: spice-protocol 0.14.3 `spice/enums.h`; spice-gtk 0.42 `channel-inputs.c`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from broker.errors import Unreachable
from broker.headless.session import MOUSE_CLIENT, Session
from broker.spice.constants import ChannelType, ClientInputs

_MOTION: Final = struct.Struct("<iiH")
_POSITION: Final = struct.Struct("<IIHB")
_BUTTON: Final = struct.Struct("<BH")
_DISPLAY: Final = 0


class Button(IntEnum):
    """A mouse's buttons; the wheel is two of them."""

    LEFT = 1
    MIDDLE = 2
    RIGHT = 3
    UP = 4
    DOWN = 5


class Pointer:
    """The mouse of one session; whoever has it remembers which buttons are held."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held = 0

    async def point(self, x: int, y: int) -> None:
        """Put the pointer there.

        Args:
            x: Pixels from the left of the screen.
            y: Pixels from its top.

        Raises:
            Unreachable: The guest takes movements only, there is no mouse, or the session ended.
        """
        if self._session.mouse_mode != MOUSE_CLIENT:
            raise Unreachable(
                "The guest's pointer cannot be put anywhere: it has no tablet in use and no agent",
                fix="Give the VM a USB tablet, or have spice-vdagent in the guest",
            )
        body = _POSITION.pack(max(0, x), max(0, y), self._held, _DISPLAY)
        await self._session.send(ChannelType.INPUTS, ClientInputs.MOUSE_POSITION, body)

    async def move(self, x: int, y: int) -> None:
        """Move it so far to the right and down; raises Unreachable, as `Session.send`."""
        body = _MOTION.pack(x, y, self._held)
        await self._session.send(ChannelType.INPUTS, ClientInputs.MOUSE_MOTION, body)

    async def button(self, button: Button, *, down: bool) -> None:
        """Press a button, or let it go; raises Unreachable, as `Session.send`."""
        bit = 1 << button - 1
        self._held = self._held | bit if down else self._held & ~bit
        kind = ClientInputs.MOUSE_PRESS if down else ClientInputs.MOUSE_RELEASE
        await self._session.send(ChannelType.INPUTS, kind, _BUTTON.pack(button, self._held))

    async def click(self, button: Button = Button.LEFT) -> None:
        """Press a button and let it go; of the wheel, turn it a step. Raises as `button`."""
        await self.button(button, down=True)
        await self.button(button, down=False)
