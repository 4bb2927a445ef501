"""What a USB device says about its endpoints, and what of that may change while it is plugged in.

QEMU keeps packets in a queue per endpoint and asserts that a bulk endpoint's device takes them,
while EP_INFO may change the endpoint under them at any time. Nobody outside can see that queue.
So an endpoint that was bulk or isochronous stays that for QEMU until the device is gone: a device
that drops it (an interface's idle setting) is believed, and QEMU is not told.
"""

from collections.abc import Iterable
from typing import Final

from broker.spice.errors import RemoteProtocolError
from broker.spice.usb_packets import ENDPOINTS, EP_INFO, INPUT, Type, index_of

STREAM_PACKET_MAX: Final = 3 * 2047
"""The largest packet of an isochronous or interrupt endpoint, in bytes: three times the field in
the descriptor. QEMU keeps up to 2000 of them for a guest that does not fetch them."""
_STAYS: Final = (Type.BULK, Type.ISO)
_ZERO: Final = (0, ENDPOINTS // 2)
"""Indices of endpoint 0, which QEMU holds in one place for both directions."""


class Endpoints:
    """The endpoints of one plugged-in device, as QEMU has been told."""

    def __init__(self) -> None:
        self.known = False
        """Whether the device has said anything about them."""
        self._types: tuple[int, ...] = (Type.NONE,) * ENDPOINTS
        self._intervals: tuple[int, ...] = (0,) * ENDPOINTS
        self._interfaces: tuple[int, ...] = (0,) * ENDPOINTS
        self._sizes: tuple[int, ...] = (0,) * ENDPOINTS

    def learn(self, info: bytes, *, plugged: bool) -> bytes:
        """Take an EP_INFO's fixed part.

        Args:
            plugged: The guest can see the device, and may be using it.

        Returns:
            What QEMU may be told.

        Raises:
            RemoteProtocolError: QEMU would not survive it.
        """
        types, intervals, interfaces, *sizes = EP_INFO.unpack(info)
        new = [list(types), list(intervals), list(interfaces), sizes]
        for index in range(ENDPOINTS):
            kind, size = types[index], sizes[index]
            if index in _ZERO:
                # QEMU asserts that nothing isochronous or interrupt ever waits, as requests to
                # endpoint 0 do.
                good = kind in (Type.CONTROL, Type.NONE)
            elif kind == Type.BULK:
                good = size > 0  # it divides by that
            elif kind in (Type.ISO, Type.INTERRUPT):
                # It throws a device out for an interval of 0, plugged in or not. We have to know
                # for certain when a device is thrown out.
                good = size <= STREAM_PACKET_MAX and intervals[index] > 0
            else:
                good = kind in (Type.CONTROL, Type.NONE)
            if not good:
                raise RemoteProtocolError("usb-endpoints")
            old = self._types[index]
            if plugged and old in _STAYS and kind != old:
                if kind != Type.NONE:
                    raise RemoteProtocolError("usb-endpoint-changed")
                mine = (self._types, self._intervals, self._interfaces, self._sizes)
                for column, kept in zip(new, mine, strict=True):
                    column[index] = kept[index]
        self.known = True
        self._types, self._intervals, self._interfaces, self._sizes = map(tuple, new)
        return EP_INFO.pack(
            *(bytes(column) for column in (self._types, self._intervals, self._interfaces)),
            *self._sizes,
        )

    def check_input(self, address: int, kind: Type, length: int) -> None:
        """That a stream's packet comes from an endpoint that sends such packets.

        Raises:
            RemoteProtocolError: It does not.
        """
        index = index_of(address)
        if not address & INPUT or self._types[index] != kind:
            raise RemoteProtocolError("usb-endpoint")
        if length > self._sizes[index]:
            raise RemoteProtocolError("usb-length")

    def check_output(self, address: int, kind: Type) -> None:
        """That an endpoint takes such packets; raises as `check_input` does."""
        if address & INPUT or self._types[index_of(address)] != kind:
            raise RemoteProtocolError("usb-endpoint")

    def check_isochronous(self, indices: Iterable[int]) -> None:
        """That QEMU takes those for isochronous which the guest does.

        Raises:
            RemoteProtocolError: QEMU's xHCI would find an isochronous endpoint without an answer,
                and abort.
        """
        if any(self._types[index] != Type.ISO for index in indices):
            raise RemoteProtocolError("usb-isochronous")
