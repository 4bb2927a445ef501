"""Which endpoints a USB device describes as isochronous, as its guest's driver will have read it.

QEMU believes EP_INFO, the guest believes the configuration descriptor, and both are the viewer's
words. Where they disagree about isochronous endpoints QEMU's xHCI aborts, so both are compared.

Source: USB 2.0, 9.6; Linux `drivers/usb/core/config.c`.
"""

from collections.abc import Iterator
from typing import Final

from broker.spice.errors import RemoteProtocolError
from broker.spice.usb_packets import Type, index_of

CONFIGURATION: Final = 2
INTERFACE: Final = 4
ENDPOINT: Final = 5
INTERFACE_BYTES: Final = 9
ENDPOINT_BYTES: Final = 7
VALUE_AT: Final = 5
"""Where a configuration descriptor says its number."""
SETTINGS_MAX: Final = 4096
"""Alternate settings that one device may describe, over all it says; real ones have below 100."""

Setting = tuple[int, int, int]
"""Configuration, interface and alternate setting."""


class Descriptions:
    """What a device has described so far; what it says twice differently counts both ways."""

    def __init__(self) -> None:
        self._iso: dict[Setting, set[int]] = {}

    def learn(self, data: bytes) -> None:
        """Read a configuration descriptor, whole or its start.

        Raises:
            RemoteProtocolError: Guests would read it in different ways, or it describes too much.
        """
        if len(data) <= VALUE_AT:
            return
        configuration = data[VALUE_AT]
        setting = (configuration, 0, 0)
        for kind, body in _walk(data):
            if kind == INTERFACE:
                setting = (configuration, body[2], body[3])
            elif kind == ENDPOINT and body[3] & 3 == Type.ISO:
                self._iso.setdefault(setting, set()).add(index_of(body[2]))
        if len(self._iso) > SETTINGS_MAX:
            raise RemoteProtocolError("usb-descriptor")

    def isochronous(self, configuration: int, settings: dict[int, int]) -> set[int]:
        """Indices of endpoints that the guest takes for isochronous.

        Args:
            settings: The alternate setting of interfaces that are not at 0.
        """
        return {
            index
            for (its, interface, alt), indices in self._iso.items()
            if its == configuration and settings.get(interface, 0) == alt
            for index in indices
        }


def _walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 2 <= len(data):
        length, kind = data[position], data[position + 1]
        body = data[position : position + length]
        if length < 2 or len(body) < length:
            return  # the rest of it comes with the next answer, or guests do not read it either
        least = {INTERFACE: INTERFACE_BYTES, ENDPOINT: ENDPOINT_BYTES}.get(kind, 2)
        if length < least:
            raise RemoteProtocolError("usb-descriptor")
        yield kind, body
        position += length
