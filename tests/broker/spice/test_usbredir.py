"""What a redirected device says, judged: each rule, and that the good passes byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from broker.spice.constants import Vmc
from broker.spice.inspector import Verdict
from broker.spice.usb_inspector import usb_inspectors
from broker.spice.usb_packets import (
    BULK,
    CONTROL,
    ENDPOINTS,
    HEADER,
    HELLO_HEADER,
    STREAM_DATA,
    Kind,
    Type,
    hello,
    index_of,
    packet,
)
from broker.spice.usb_requests import WAITING_MAX
from broker.spice.usbredir import NEEDED, UsbRedirection
from broker.spice.wire import message
from tests.adversary.usb_stick import (
    BULK_IN,
    BULK_OUT,
    CAPS,
    CONFIGURATION,
    CONNECT,
    INTERRUPT_IN,
    PLUGGED_IN,
    endpoint_info,
    interface_info,
)

MACHINE = hello(b"machine", 0xFF)
VIEWER = hello(b"viewer", 0xFF)
EVERY_CUT = pytest.mark.parametrize("size", [1, 3, 17, 4096])


def from_viewer(spoken: UsbRedirection, *said: bytes, size: int = 4096) -> tuple[bytes, str]:
    whole, passed = b"".join(said), b""
    for start in range(0, len(whole), size):
        more, reason = spoken.from_viewer(memoryview(whole)[start : start + size])
        passed += more
        if reason:
            return passed, reason
    return passed, ""


def from_machine(spoken: UsbRedirection, *said: bytes, size: int = 4096) -> bytes:
    whole, passed = b"".join(said), b""
    for start in range(0, len(whole), size):
        piece = memoryview(whole)[start : start + size]
        more, reason = spoken.from_machine(piece)
        assert (len(more), reason) == (len(piece), "")
        passed += more
    return passed


def greeted() -> UsbRedirection:
    spoken = UsbRedirection()
    from_machine(spoken, MACHINE)
    assert from_viewer(spoken, VIEWER)[1] == ""
    return spoken


def plugged(info: bytes = b"") -> UsbRedirection:
    spoken = greeted()
    said = PLUGGED_IN.replace(endpoint_info(), info) if info else PLUGGED_IN
    assert from_viewer(spoken, said) == (said, "")
    return spoken


def bulk(endpoint: int, length: int, number: int, data: int = 0, status: int = 0) -> bytes:
    fixed = BULK.pack(endpoint, status, length & 0xFFFF, 0, length >> 16)
    return packet(Kind.BULK_PACKET, fixed, bytes(data), number=number)


def control(request: int, value: int, length: int, number: int, data: bytes = b"") -> bytes:
    fixed = CONTROL.pack(0x80, request, 0x80, 0, value, 0, length)
    return packet(Kind.CONTROL_PACKET, fixed, data, number=number)


def stream(kind: int, endpoint: int, size: int) -> bytes:
    return packet(kind, STREAM_DATA.pack(endpoint, 0, size), bytes(size))


def typed(address: int, kind: int) -> bytes:
    types = list(endpoint_info()[:ENDPOINTS])
    types[index_of(address)] = kind
    return endpoint_info(types=tuple(types), intervals=(1,) * ENDPOINTS)


@EVERY_CUT
def test_both_hellos_lose_what_nobody_can_make_safe(size: int) -> None:
    spoken = UsbRedirection()
    wide = HELLO_HEADER.pack(Kind.HELLO, 72, 0) + b"m".ljust(64, b"\0") + b"\xff" * 8
    safe = wide[:-8] + NEEDED.to_bytes(8, "little")
    assert from_machine(spoken, wide, packet(Kind.RESET), size=size) == safe + packet(Kind.RESET)
    assert from_viewer(spoken, wide, size=size) == (safe, "")


@EVERY_CUT
def test_a_conversation_passes_as_it_is(size: int) -> None:
    spoken = greeted()
    assert from_viewer(spoken, PLUGGED_IN, size=size) == (PLUGGED_IN, "")
    asked = (
        packet(Kind.RESET),
        control(6, 0x200, 255, 0x10),
        packet(Kind.SET_CONFIGURATION, b"\1", number=0x20),
        bulk(BULK_OUT, 31, 0x30, 31),
        bulk(BULK_IN, 70_000, 0x40),
        packet(Kind.START_INTERRUPT_RECEIVING, bytes([INTERRUPT_IN])),
        packet(Kind.GET_ALT_SETTING, b"\0", number=0x50),
    )
    assert from_machine(spoken, *asked, size=size) == b"".join(asked)
    answers = (
        control(6, 0x200, len(CONFIGURATION), 0x10, CONFIGURATION),
        packet(Kind.INTERFACE_INFO, interface_info()),
        packet(Kind.EP_INFO, endpoint_info()),
        packet(Kind.CONFIGURATION_STATUS, b"\0\1", number=0x20),
        bulk(BULK_OUT, 31, 0x30),
        bulk(BULK_IN, 66_000, 0x40, 66_000),
        packet(Kind.INTERRUPT_RECEIVING_STATUS, bytes([0, INTERRUPT_IN])),
        stream(Kind.INTERRUPT_PACKET, INTERRUPT_IN, 8),
        packet(Kind.ALT_SETTING_STATUS, bytes(3), number=0x50),
        packet(Kind.DEVICE_DISCONNECT),
    )
    assert from_viewer(spoken, *answers, size=size) == (b"".join(answers), "")
    from_machine(spoken, packet(Kind.DEVICE_DISCONNECT_ACK))
    assert from_viewer(spoken, PLUGGED_IN, size=size) == (PLUGGED_IN, "")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (packet(Kind.HELLO, bytes(68)), "usb-kind"),
        (packet(77), "usb-kind"),
        (packet(Kind.RESET), "usb-kind"),
        (packet(Kind.FILTER_FILTER, b"", b"-1,-1,-1,-1,1\0"), "usb-kind"),
        (packet(Kind.FILTER_REJECT), "usb-kind"),
        (packet(20, bytes(9)), "usb-kind"),
        (packet(27, bytes(6)), "usb-kind"),
        (packet(104, bytes(10)), "usb-kind"),
        (packet(Kind.EP_INFO, bytes(159)), "usb-length"),
        (packet(Kind.EP_INFO, bytes(161)), "usb-length"),
        (packet(Kind.DEVICE_DISCONNECT, b"1"), "usb-length"),
        (packet(Kind.BULK_PACKET, bytes(9)), "usb-length"),
        (packet(Kind.INTERFACE_INFO, interface_info(33)), "usb-interfaces"),
        (packet(Kind.DEVICE_CONNECT, CONNECT), "usb-connect"),
        (stream(Kind.INTERRUPT_PACKET, INTERRUPT_IN, 8), "usb-not-connected"),
        (packet(Kind.EP_INFO, typed(0x80, Type.ISO)), "usb-endpoints"),
        (packet(Kind.EP_INFO, typed(0x00, Type.INTERRUPT)), "usb-endpoints"),
        (packet(Kind.EP_INFO, typed(0x8F, 9)), "usb-endpoints"),
        (packet(Kind.EP_INFO, endpoint_info(sizes=(0,) * ENDPOINTS)), "usb-endpoints"),
        (packet(Kind.EP_INFO, endpoint_info(intervals=(0,) * ENDPOINTS)), "usb-endpoints"),
        (packet(Kind.EP_INFO, endpoint_info(sizes=(6142,) * ENDPOINTS)), "usb-endpoints"),
    ],
)  # fmt: skip
@EVERY_CUT
def test_what_qemu_does_not_survive_does_not_end(said: bytes, reason: str, size: int) -> None:
    passed, why = from_viewer(greeted(), said, bytes(200), size=size)
    assert (passed, why) == (b"", reason)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (packet(Kind.DEVICE_DISCONNECT), "usb-hello"),
        (HELLO_HEADER.pack(Kind.HELLO, 200 << 20, 0), "usb-hello"),
        (HELLO_HEADER.pack(Kind.HELLO, 64, 0), "usb-hello"),
        *((hello(b"old", 0x7E & ~(1 << bit)), "usb-capabilities") for bit in range(1, 7)),
    ],
)
def test_a_hello_must_be_one_with_everything_in_it(first: bytes, reason: str) -> None:
    spoken = UsbRedirection()
    from_machine(spoken, MACHINE)
    assert from_viewer(spoken, first) == (b"", reason)


def test_nothing_is_said_to_a_machine_that_cannot_be_judged() -> None:
    spoken = UsbRedirection()
    assert from_viewer(spoken, VIEWER, PLUGGED_IN)[1] == "usb-too-early"
    spoken = UsbRedirection()
    from_machine(spoken, hello(b"old", 0x0E))
    assert from_viewer(spoken, VIEWER, PLUGGED_IN)[1] == "usb-capabilities"
    assert UsbRedirection().from_machine(memoryview(bytes([9] * 12)))[1] == "usb-machine"
    spoken = greeted()
    assert spoken.from_machine(memoryview(packet(Kind.BULK_PACKET)))[1] == "usb-machine"


@pytest.mark.parametrize(
    ("asked", "answer", "reason"),
    [
        (b"", bulk(BULK_IN, 0, 7), "usb-unasked"),
        (bulk(BULK_IN, 9, 7), bulk(BULK_IN, 0, 8), "usb-unasked"),
        (bulk(BULK_IN, 9, 7), bulk(0x84, 0, 7), "usb-unasked"),
        (bulk(BULK_IN, 9, 7), bulk(BULK_IN, 10, 7, 10), "usb-length"),
        (bulk(BULK_IN, 9, 7), bulk(BULK_IN, 9, 7, 8), "usb-length"),
        (bulk(BULK_OUT, 9, 7, 9), bulk(BULK_OUT, 9, 7, 9), "usb-length"),
        (bulk(BULK_OUT, 9, 7, 9), bulk(BULK_OUT, 1 << 20, 7), "usb-length"),
        (bulk(BULK_IN, 9, 7) + bulk(BULK_IN, 9, 8), bulk(BULK_IN, 0, 8), "usb-order"),
        (bulk(BULK_IN, 9, 7), bulk(BULK_IN, 0, 7) * 2, "usb-unasked"),
        (control(6, 0x100, 18, 7), control(6, 0x100, 19, 7, bytes(19)), "usb-length"),
        (control(6, 0x100, 18, 7), packet(8, b"\0\1", number=7), "usb-answer"),
        (packet(6, b"\1", number=7), control(6, 0x100, 0, 7), "usb-answer"),
        (b"", packet(Kind.EP_INFO, endpoint_info()), "usb-unasked"),
        (b"", packet(Kind.INTERFACE_INFO, interface_info()), "usb-unasked"),
        (b"", packet(Kind.DEVICE_CONNECT, CONNECT), "usb-connect"),
        (b"", stream(Kind.ISO_PACKET, INTERRUPT_IN, 8), "usb-endpoint"),
        (b"", stream(Kind.ISO_PACKET, BULK_OUT, 8), "usb-endpoint"),
        (b"", stream(Kind.INTERRUPT_PACKET, INTERRUPT_IN, 9), "usb-length"),
        (b"", packet(103, bytes([INTERRUPT_IN, 0, 8, 0]), bytes(7)), "usb-length"),
        (b"", packet(Kind.INTERRUPT_PACKET, bytes([BULK_OUT, 0, 0, 0])), "usb-endpoint"),
        (b"", packet(Kind.INTERRUPT_RECEIVING_STATUS, bytes([0, 2])), "usb-endpoint"),
        (b"", packet(Kind.DEVICE_DISCONNECT) * 2, "usb-leaving"),
        (b"", packet(Kind.DEVICE_DISCONNECT) + PLUGGED_IN, "usb-leaving"),
        (control(6, 0x200, 9, 7), control(6, 0x200, 9, 7, b"\x09\2\xff\0\1\1\0\x80\x32")
         + bulk(BULK_IN, 0, 0), "usb-unasked"),
        (control(6, 0x200, 99, 7),
         control(6, 0x200, 17, 7, CONFIGURATION[:9] + bytes([8, 4]) + bytes(6)), "usb-descriptor"),
    ],
)  # fmt: skip
def test_a_device_in_use_answers_what_it_was_asked_and_changes_nothing(
    asked: bytes, answer: bytes, reason: str
) -> None:
    spoken = plugged()
    from_machine(spoken, asked)
    assert from_viewer(spoken, answer)[1] == reason


def test_an_endpoint_that_was_bulk_stays_that_for_qemu_until_the_device_is_gone() -> None:
    spoken = plugged()
    from_machine(spoken, packet(Kind.SET_ALT_SETTING, b"\0\1", number=1))
    without = packet(Kind.EP_INFO, typed(BULK_IN, Type.NONE))
    passed, reason = from_viewer(spoken, without)
    assert (len(passed), reason) == (len(without), "")
    index = index_of(BULK_IN)
    assert passed[HEADER.size + index] == Type.BULK
    assert passed[HEADER.size + 96 + 2 * index :][:2] == (512).to_bytes(2, "little")
    changed = packet(Kind.EP_INFO, typed(BULK_IN, Type.INTERRUPT))
    assert from_viewer(spoken, changed) == (b"", "usb-endpoint-changed")


def test_a_cancelled_request_is_answered_once_in_any_order() -> None:
    spoken = plugged()
    asked = (bulk(BULK_IN, 9, 1), bulk(BULK_IN, 9, 2), packet(21, number=1))
    from_machine(spoken, *asked)
    answers = (bulk(BULK_IN, 0, 2), bulk(BULK_IN, 0, 1, status=1))
    assert from_viewer(spoken, *answers) == (b"".join(answers), "")
    assert from_viewer(spoken, answers[1])[1] == "usb-unasked"


def test_an_answer_that_crossed_its_cancellation_is_the_cancelled_ones() -> None:
    spoken = plugged()
    from_machine(spoken, bulk(BULK_IN, 9, 1))
    assert from_viewer(spoken, bulk(BULK_IN, 0, 1))[1] == ""
    from_machine(spoken, packet(21, number=1), bulk(BULK_IN, 9, 1))
    assert from_viewer(spoken, bulk(BULK_IN, 0, 1))[1] == ""
    assert from_viewer(spoken, bulk(BULK_IN, 0, 1))[1] == "usb-unasked"


@pytest.mark.parametrize(
    ("declared", "reason"), [(Type.ISO, ""), (Type.INTERRUPT, "usb-isochronous")]
)
def test_what_a_guest_takes_for_isochronous_qemu_must_too(declared: Type, reason: str) -> None:
    spoken = plugged()
    iso = CONFIGURATION + struct.pack("<9B", 9, 4, 1, 3, 1, 1, 2, 0, 0)
    iso += struct.pack("<BBBBHB", 7, 5, 0x84, 5, 512, 1)
    from_machine(spoken, control(6, 0x200, 255, 1))
    assert from_viewer(spoken, control(6, 0x200, len(iso), 1, iso))[1] == ""
    from_machine(spoken, packet(6, b"\1", number=2))
    assert from_viewer(spoken, packet(8, b"\0\1", number=2))[1] == ""
    from_machine(spoken, packet(9, b"\1\3", number=3))
    said = packet(Kind.EP_INFO, typed(0x84, declared)), packet(11, b"\0\1\3", number=3)
    assert from_viewer(spoken, *said)[1] == reason


def test_what_a_rejected_device_still_answers_goes_nowhere() -> None:
    spoken = plugged()
    from_machine(spoken, bulk(BULK_IN, 9, 1), packet(Kind.FILTER_REJECT))
    assert from_viewer(spoken, bulk(BULK_IN, 9, 1, 9)) == (b"", "")
    assert from_viewer(spoken, PLUGGED_IN) == (PLUGGED_IN, "")
    assert from_viewer(spoken, bulk(BULK_IN, 0, 1))[1] == "usb-unasked"


def test_requests_that_are_never_answered_have_an_end() -> None:
    spoken = plugged()
    for number in range(WAITING_MAX):
        from_machine(spoken, bulk(BULK_IN, 9, number))
    assert spoken.from_machine(memoryview(bulk(BULK_IN, 9, 1))) == (b"", "usb-unanswered")


def test_an_interrupt_packet_is_answered_once() -> None:
    spoken = plugged(typed(0x05, Type.INTERRUPT))
    answer = packet(Kind.INTERRUPT_PACKET, STREAM_DATA.pack(5, 0, 8), number=9)
    from_machine(
        spoken, packet(Kind.INTERRUPT_PACKET, STREAM_DATA.pack(5, 0, 8), bytes(8), number=9)
    )
    assert from_viewer(spoken, answer) == (answer, "")
    assert from_viewer(spoken, answer)[1] == "usb-unasked"


# -- in the messages of a channel

EITHER = pytest.mark.parametrize("mini", [True, False], ids=["mini", "full"])


def framed(mini: bool) -> Callable[[bytes], bytes]:
    return lambda body: message(Vmc.DATA, body, mini=mini, serial=7)


@EITHER
@EVERY_CUT
def test_packets_run_across_messages_and_other_messages_between_them(mini: bool, size: int) -> None:
    to_server, to_client = usb_inspectors(mini=mini)
    frame = framed(mini)
    whole = frame(MACHINE[:30]) + frame(MACHINE[30:]) + frame(b"")
    passed = b""
    for start in range(0, len(whole), size):
        passed += bytes(to_client.scan(memoryview(to_client.held + whole[start:][:size])))
    assert len(passed) == len(whole) == to_client.forwarded
    pong = message(3, bytes(12), mini=mini, serial=8)
    said = VIEWER + PLUGGED_IN
    whole = frame(said[:90]) + pong + frame(said[90:]) + frame(b"")
    passed = b""
    for start in range(0, len(whole), size):
        passed += bytes(to_server.scan(memoryview(to_server.held + whole[start:][:size])))
    assert to_server.forwarded == len(passed)
    assert to_server.verdict is None
    assert pong in passed
    head = len(frame(b""))
    words, rest = b"", passed.replace(pong, b"")
    while rest:
        length = int.from_bytes(rest[2:6] if mini else rest[10:14], "little")
        assert length > 0
        words += rest[head : head + length]
        rest = rest[head + length :]
    assert words == hello(b"viewer", NEEDED) + PLUGGED_IN


@pytest.mark.parametrize("warns", [False, True], ids=["enforce", "warn"])
def test_what_kills_ends_the_channel_in_either_mode(warns: bool) -> None:
    to_server, to_client = usb_inspectors(mini=True, warns=warns)
    to_client.scan(memoryview(message(101, MACHINE)))
    bad = packet(Kind.RESET) + bytes(20)
    passed = to_server.scan(memoryview(message(101, VIEWER + PLUGGED_IN) + message(101, bad)))
    assert bytes(passed) == message(101, hello(b"viewer", NEEDED) + PLUGGED_IN)
    assert to_server.verdict == Verdict(101, len(bad), "usb-kind")
    assert to_server.take_judged() == {("refused", 101): 1}


@pytest.mark.parametrize("warns", [False, True], ids=["enforce", "warn"])
def test_what_cannot_be_read_does_not_pass(warns: bool) -> None:
    for inspector in usb_inspectors(mini=True, warns=warns):
        packed = message(102, struct.pack("<BI", 1, 64) + bytes(40))
        assert bytes(inspector.scan(memoryview(packed))) == b""
        assert inspector.verdict == Verdict(102, 45, "type")


def test_a_machine_that_speaks_something_else_ends_the_channel() -> None:
    _, to_client = usb_inspectors(mini=True)
    assert bytes(to_client.scan(memoryview(message(101, b"login: root\r\n")))) == b""
    assert to_client.verdict == Verdict(101, 13, "usb-machine")
    assert to_client.forwarded == 0


def test_viewers_offer_what_is_needed() -> None:
    assert CAPS & NEEDED == NEEDED
