"""One redirected USB device: whether QEMU survives the packet that it sends next.

QEMU 7.2 trusts whoever redirects a device, and libusbredirparser's first error leaves it in a
state that it asserts against. So everything is refused that the parser would not take, that
answers nothing, or that changes a device while its guest uses it. What the viewer's side of
usbredir (usbredirhost, spice-gtk's own) really sends passes.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from broker.spice.errors import RemoteProtocolError
from broker.spice.usb_descriptors import CONFIGURATION, Descriptions
from broker.spice.usb_endpoints import Endpoints
from broker.spice.usb_packets import (
    ALT_SETTING_STATUS,
    BULK,
    CARRIES_DATA,
    CONFIGURATION_STATUS,
    CONTROL,
    DEVICE_CONNECT,
    INPUT,
    STREAM_DATA,
    STREAM_STATUS,
    SUCCESS,
    Kind,
    Type,
)
from broker.spice.usb_requests import Request, Requests

INTERFACES_MAX: Final = 32
SPEEDS: Final = frozenset({0, 1, 2, 3, 255})
"""Low, full, high, super, unknown."""
GET_DESCRIPTOR: Final = (INPUT, 6)
"""Request type and request."""
ANSWERS: Final = {
    Kind.CONFIGURATION_STATUS: (Kind.SET_CONFIGURATION, Kind.GET_CONFIGURATION),
    Kind.ALT_SETTING_STATUS: (Kind.SET_ALT_SETTING, Kind.GET_ALT_SETTING),
    Kind.CONTROL_PACKET: (Kind.CONTROL_PACKET,),
    Kind.BULK_PACKET: (Kind.BULK_PACKET,),
}
PLUGGING: Final = frozenset(
    {Kind.INTERFACE_INFO, Kind.EP_INFO, Kind.DEVICE_CONNECT, Kind.DEVICE_DISCONNECT}
)


class Plug(Enum):
    """How far a device is plugged in."""

    OUT = "out"
    IN = "in"
    LEAVING = "leaving"
    """It said so; the machine has not confirmed that it heard. What the machine asked before
    must not be taken for asked of the next device."""
    REJECTED = "rejected"
    """The machine threw it out; answers to what it asked before may still be under way."""


class _Life:
    """What is known of one device, from its first words until it is gone."""

    def __init__(self) -> None:
        self.interfaces_known = False
        self.endpoints = Endpoints()
        self.requests = Requests()
        self.descriptions = Descriptions()
        self.configuration = 0
        self.settings: dict[int, int] = {}
        """The alternate setting of interfaces that were set since the configuration was."""

    def check_isochronous(self) -> None:
        """That QEMU and the guest agree; raises as `Device.says` does."""
        taken_so = self.descriptions.isochronous(self.configuration, self.settings)
        self.endpoints.check_isochronous(taken_so)


class Device:
    """What one channel redirects; one device after another."""

    def __init__(self) -> None:
        self._plug = Plug.OUT
        self._life = _Life()
        self.describes = False
        """Whether the data of the packet judged last is a configuration descriptor."""

    def says(self, kind: int, number: int, fixed: bytes, length: int) -> bytes | None:
        """Judge a packet before its end is let through.

        Args:
            number: Its id.
            fixed: Its fixed part.
            length: Bytes of data behind that.

        Returns:
            The fixed part for QEMU, or None to drop the packet.

        Raises:
            RemoteProtocolError: It may not pass; the text is a stable kebab-case reason.
        """
        self.describes = False
        match kind:
            case _ if self._plug is Plug.LEAVING and kind in PLUGGING:
                raise RemoteProtocolError("usb-leaving")
            case Kind.INTERFACE_INFO:
                return self._interface_info(fixed)
            case Kind.EP_INFO:
                return self._endpoint_info(fixed)
            case Kind.DEVICE_CONNECT:
                self._connect(fixed)
            case Kind.DEVICE_DISCONNECT:
                self._plug = Plug.LEAVING
            case _ if self._plug in (Plug.LEAVING, Plug.REJECTED):
                return None
            case _ if self._plug is Plug.OUT:
                raise RemoteProtocolError("usb-not-connected")
            case Kind.ISO_PACKET | Kind.INTERRUPT_PACKET:
                self._stream(kind, number, fixed, length)
            case Kind.ISO_STREAM_STATUS:
                pass
            case Kind.INTERRUPT_RECEIVING_STATUS:
                _, address = STREAM_STATUS.unpack(fixed)
                if not address & INPUT:
                    raise RemoteProtocolError("usb-endpoint")
            case _:
                self._answer(Kind(kind), number, fixed, length)
        return fixed

    def described(self, data: bytes) -> None:
        """Take that descriptor; raises as `says` does."""
        self._life.descriptions.learn(data)

    def _interface_info(self, fixed: bytes) -> bytes:
        if int.from_bytes(fixed[:4], "little") > INTERFACES_MAX:
            raise RemoteProtocolError("usb-interfaces")
        self._check_changing()
        self._life.interfaces_known = True
        return fixed

    def _endpoint_info(self, fixed: bytes) -> bytes:
        self._check_changing()
        return self._life.endpoints.learn(fixed, plugged=self._plug is Plug.IN)

    def _check_changing(self) -> None:
        """What a plugged-in device is like changes only when the machine asks for a change."""
        if self._plug is Plug.IN and not self._life.requests.wants_change():
            raise RemoteProtocolError("usb-unasked")

    def _connect(self, fixed: bytes) -> None:
        if self._plug is Plug.IN or not (
            self._life.interfaces_known and self._life.endpoints.known
        ):
            raise RemoteProtocolError("usb-connect")
        if DEVICE_CONNECT.unpack(fixed)[0] not in SPEEDS:
            raise RemoteProtocolError("usb-connect")
        self._plug = Plug.IN

    def _stream(self, kind: int, number: int, fixed: bytes, length: int) -> None:
        address, _, announced = STREAM_DATA.unpack(fixed)
        if kind == Kind.INTERRUPT_PACKET and not address & INPUT:
            self._life.endpoints.check_output(address, Type.INTERRUPT)
            if length:
                raise RemoteProtocolError("usb-length")
            self._life.requests.interrupt_answered(number)
            return
        its = Type.ISO if kind == Kind.ISO_PACKET else Type.INTERRUPT
        self._life.endpoints.check_input(address, its, announced)
        if length != announced:
            raise RemoteProtocolError("usb-length")

    def _answer(self, kind: Kind, number: int, fixed: bytes, length: int) -> None:
        """Data and results that the machine asked for, each once and in order."""
        address, announced = 0, 0
        if kind is Kind.CONTROL_PACKET:
            address, *_, announced = CONTROL.unpack(fixed)
        elif kind is Kind.BULK_PACKET:
            address, _, low, _, high = BULK.unpack(fixed)
            announced = high << 16 | low
        request = self._life.requests.answered(address, number)
        if request.kind not in ANSWERS[kind]:
            raise RemoteProtocolError("usb-answer")
        if kind in CARRIES_DATA:
            carried = announced if address & INPUT else 0
            if address != request.endpoint:
                raise RemoteProtocolError("usb-endpoint")
            if announced > request.length or length != carried:
                raise RemoteProtocolError("usb-length")
            self.describes = request.is_configuration
        elif request.kind is Kind.SET_CONFIGURATION:
            status, _ = CONFIGURATION_STATUS.unpack(fixed)
            if status == SUCCESS:
                self._life.configuration, self._life.settings = request.value, {}
                self._life.check_isochronous()
        elif request.kind is Kind.SET_ALT_SETTING:
            status, _, _ = ALT_SETTING_STATUS.unpack(fixed)
            if status == SUCCESS:
                interface, alt = divmod(request.value, 256)
                self._life.settings[interface] = alt
                self._life.check_isochronous()

    # -- what the machine says; it is believed

    def is_told(self, kind: int, number: int, fixed: bytes) -> None:
        """Take a packet of the machine's, before the device can answer it.

        Args:
            fixed: As much of it as `FROM_MACHINE` says.

        Raises:
            RemoteProtocolError: The device leaves too much unanswered.
        """
        if kind == Kind.DEVICE_DISCONNECT_ACK:
            if self._plug is Plug.LEAVING:
                self._forget(Plug.OUT)
        elif self._plug is not Plug.IN:
            return
        elif kind == Kind.FILTER_REJECT:
            self._forget(Plug.REJECTED)
        elif kind == Kind.CANCEL_DATA_PACKET:
            self._life.requests.cancelled(number)
        elif kind == Kind.INTERRUPT_PACKET:
            self._life.requests.interrupt_sent(number)
        elif (request := _request(kind, number, fixed)) is not None:
            self._life.requests.asked(request)

    def _forget(self, now: Plug) -> None:
        self._life = _Life()
        self._plug = now


def _request(kind: int, number: int, fixed: bytes) -> Request | None:
    """What wants an answer; None for the rest."""
    match kind:
        case Kind.SET_CONFIGURATION:
            return Request(Kind.SET_CONFIGURATION, number, 0, value=fixed[0])
        case Kind.SET_ALT_SETTING:
            return Request(Kind.SET_ALT_SETTING, number, 0, value=fixed[0] << 8 | fixed[1])
        case Kind.GET_CONFIGURATION | Kind.GET_ALT_SETTING:
            return Request(Kind(kind), number, 0)
        case Kind.CONTROL_PACKET:
            address, request, its_type, _, value, _, length = CONTROL.unpack(fixed)
            is_configuration = (its_type, request, value >> 8) == (*GET_DESCRIPTOR, CONFIGURATION)
            return Request(
                Kind.CONTROL_PACKET, number, address, length, is_configuration=is_configuration
            )
        case Kind.BULK_PACKET:
            address, _, low, _, high = BULK.unpack(fixed)
            return Request(Kind.BULK_PACKET, number, address, high << 16 | low)
        case _:
            return None
