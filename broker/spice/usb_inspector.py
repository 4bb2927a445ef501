"""The walk over messages on a channel for USB devices, which also reads what is in them.

From the viewer: what the device says is checked, and sent on in messages of ours, for what has to
wait for its end does not end where a message does. To the viewer: messages pass as they are, but
for the machine's first words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from broker.spice.constants import ChannelType, Vmc
from broker.spice.inspector import Inspector, Verdict
from broker.spice.policy import FROM_CLIENT, FROM_SERVER, Rules
from broker.spice.usbredir import UsbRedirection
from broker.spice.wire import Header


def usb_inspectors(*, mini: bool, warns: bool = False) -> tuple[Inspector, Inspector]:
    """Towards the server and towards the client, for one channel."""
    spoken = UsbRedirection()
    return (
        _FromViewer(spoken, FROM_CLIENT[ChannelType.USBREDIR], mini=mini, warns=warns),
        _FromMachine(spoken, FROM_SERVER[ChannelType.USBREDIR], mini=mini, warns=warns),
    )


class _Part(NamedTuple):
    """A part of what passed."""

    raw: memoryview
    header: Header | None
    """The message that this is of; None while its header is not whole."""
    is_body: bool


class _Messages:
    """Splits what an inspector let through into parts again; it is in order already."""

    def __init__(self, *, mini: bool) -> None:
        self._mini = mini
        self._length = Header.length(mini=mini)
        self._head = b""
        self._left = 0
        self.latest = Header(0, 0)
        """The message that began last."""

    def parts(self, data: memoryview) -> Iterator[_Part]:
        """All of `data`, in order: starts of headers, ends of headers, parts of bodies."""
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                yield _Part(piece, self.latest, is_body=True)
                continue
            missing = self._length - len(self._head)
            piece, data = data[:missing], data[missing:]
            self._head += piece
            if len(self._head) < self._length:
                yield _Part(piece, None, is_body=False)
                return
            self.latest = Header.decode(self._head, mini=self._mini)
            self._left = self.latest.size
            self._head = b""
            yield _Part(piece, self.latest, is_body=False)


class _Usb(Inspector):
    """What both directions share."""

    __slots__ = ("_framing", "_spoken")

    def __init__(self, spoken: UsbRedirection, rules: Rules, *, mini: bool, warns: bool) -> None:
        super().__init__(rules, mini=mini, warns=warns)
        self._spoken = spoken
        self._framing = _Messages(mini=mini)

    def _end(self, reason: str) -> None:
        """In either mode of the firewall: nothing here is a rule to be tried out first."""
        self._judge("refused", Vmc.DATA)
        self.verdict = Verdict(Vmc.DATA, self._framing.latest.size, reason)
        self.held = b""


class _FromViewer(_Usb):
    __slots__ = ()

    def scan(self, chunk: memoryview) -> memoryview | bytes:
        """As `Inspector.scan`; one message's data may come out in another."""
        passed = memoryview(super().scan(chunk))
        self.forwarded -= len(passed)
        out: list[bytes | memoryview] = []
        said: list[bytes] = []
        for raw, header, is_body in self._framing.parts(passed):
            if header is None:
                continue
            if header.type != Vmc.DATA:
                self._flush(said, out)
                out.append(raw if is_body else header.encode(mini=self._mini))
            elif is_body:
                words, reason = self._spoken.from_viewer(raw)
                said.append(words)
                if reason:
                    self._end(reason)
                    break
        self._flush(said, out)
        whole = b"".join(out)
        self.latest = 0
        self.forwarded += len(whole)
        return whole

    def _flush(self, said: list[bytes], out: list[bytes | memoryview]) -> None:
        if words := b"".join(said):
            serial = self._framing.latest.serial
            out += (Header(Vmc.DATA, len(words), serial).encode(mini=self._mini), words)
        said.clear()


class _FromMachine(_Usb):
    __slots__ = ()

    def scan(self, chunk: memoryview) -> memoryview | bytes:
        """As `Inspector.scan`."""
        passed = super().scan(chunk)
        view = memoryview(passed)
        greeted = self._spoken.greeted
        out: list[bytes | memoryview] = []
        for raw, header, is_body in self._framing.parts(view):
            words: bytes | memoryview = raw
            if is_body and header is not None and header.type == Vmc.DATA:
                words, reason = self._spoken.from_machine(raw)
                if reason:
                    self._end(reason)
                    self.forwarded -= len(view)
                    return b""
            if not greeted:
                out.append(words)
        return passed if greeted else b"".join(out)
