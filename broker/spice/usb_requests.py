"""What a machine has asked of a USB device and is not answered yet.

QEMU asserts that an answer belongs to the oldest request of its endpoint; it does not look. So
each answer is compared with what was asked, and each request is answered once.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from broker.spice.errors import RemoteProtocolError
from broker.spice.usb_packets import Kind

WAITING_MAX: Final = 16384
"""Requests without an answer on one channel; a guest's drivers keep far fewer."""
INTERRUPTS_MAX: Final = 1024
"""Interrupt packets to the device that are remembered; QEMU does not wait for their answers."""


@dataclass(frozen=True, slots=True)
class Request:
    """One packet of the machine's that wants an answer."""

    kind: Kind
    """What was asked."""
    number: int
    """Its id."""
    endpoint: int
    """The address."""
    length: int = 0
    """Bytes that are asked for, or that were given."""
    value: int = 0
    """Of SET_CONFIGURATION: which. Of SET_ALT_SETTING: interface and setting, a byte each."""
    is_configuration: bool = False
    """It asks for a configuration descriptor."""


def _queue(address: int) -> int:
    """Which queue of QEMU's an address means: endpoint 0 has one for both directions."""
    return address if address & 0x0F else 0


class Requests:
    """By endpoint, in the order in which they were made."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Request]] = {}
        self._cancelled: dict[int, deque[Request]] = {}
        self._interrupts: deque[int] = deque(maxlen=INTERRUPTS_MAX)
        self._count = 0

    def asked(self, request: Request) -> None:
        """The machine wants an answer.

        Raises:
            RemoteProtocolError: The device has left too many unanswered.
        """
        if self._count >= WAITING_MAX:
            raise RemoteProtocolError("usb-unanswered")
        self._count += 1
        self._waiting.setdefault(_queue(request.endpoint), deque()).append(request)

    def cancelled(self, number: int) -> None:
        """The machine has taken one back; its answer, which may be under way, does nothing."""
        for queue in self._waiting.values():
            for request in queue:
                if request.number == number:
                    queue.remove(request)
                    self._cancelled.setdefault(number, deque()).append(request)
                    return

    def answered(self, endpoint: int, number: int) -> Request:
        """What this answers; it waits no longer.

        Raises:
            RemoteProtocolError: Nobody asked, it was answered, or others come before it.
        """
        if (gone := self._cancelled.get(number)) is not None:
            request = gone.popleft()
            if not gone:
                del self._cancelled[number]
        else:
            queue = self._waiting.get(_queue(endpoint))
            if not queue:
                raise RemoteProtocolError("usb-unasked")
            if queue[0].number != number:
                unasked = all(request.number != number for request in queue)
                raise RemoteProtocolError("usb-unasked" if unasked else "usb-order")
            request = queue.popleft()
        self._count -= 1
        return request

    def wants_change(self) -> bool:
        """Whether a change of configuration or setting is not confirmed yet."""
        return any(
            request.kind in (Kind.SET_CONFIGURATION, Kind.SET_ALT_SETTING)
            for queue in (self._waiting.get(0, ()), *self._cancelled.values())
            for request in queue
        )

    def interrupt_sent(self, number: int) -> None:
        """The machine gave the device an interrupt packet."""
        self._interrupts.append(number)

    def interrupt_answered(self, number: int) -> None:
        """The device says what became of one.

        Raises:
            RemoteProtocolError: It was given none such.
        """
        if number not in self._interrupts:
            raise RemoteProtocolError("usb-unasked")
        self._interrupts.remove(number)
