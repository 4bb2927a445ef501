"""What messages are called, for people who read a log."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from broker.spice.constants import (
    Base,
    ChannelType,
    ClientBase,
    ClientDisplay,
    ClientInputs,
    ClientMain,
    ClientRecord,
    Display,
    Inputs,
    Main,
    Vmc,
)

_BY_CLIENT: Final[Mapping[ChannelType, type[IntEnum]]] = {
    ChannelType.MAIN: ClientMain,
    ChannelType.DISPLAY: ClientDisplay,
    ChannelType.INPUTS: ClientInputs,
    ChannelType.RECORD: ClientRecord,
    ChannelType.USBREDIR: Vmc,
    ChannelType.PORT: Vmc,
    ChannelType.WEBDAV: Vmc,
}
_BY_SERVER: Final[Mapping[ChannelType, type[IntEnum]]] = {
    ChannelType.MAIN: Main,
    ChannelType.DISPLAY: Display,
    ChannelType.INPUTS: Inputs,
    ChannelType.USBREDIR: Vmc,
    ChannelType.PORT: Vmc,
    ChannelType.WEBDAV: Vmc,
}


def name_of_message(channel: ChannelType, kind: int, *, from_client: bool) -> str:
    """`key-down`, or `message 999` for what has no name here."""
    own = (_BY_CLIENT if from_client else _BY_SERVER).get(channel)
    for names in (ClientBase if from_client else Base, own):
        if names is not None and kind in list(names):
            return names(kind).name.lower().replace("_", "-")
    return f"message {kind}"
