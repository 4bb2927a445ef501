"""What a link may do, held against a scripted server and a viewer that tries all the same."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from broker.model import LinkPolicy
from broker.proxy.gate import ChannelClosed, ConnectionRefused, Judged
from broker.proxy.limits import Limits
from broker.proxy.link_policy import policy_for
from broker.spice.agent import AGENT_HEADER
from broker.spice.client import Linked
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType, ClientMain, LinkError, Main
from broker.spice.wire import decode_channels, encode_channels, message
from tests.broker.proxy.fake_server import FakeServer, Served
from tests.broker.proxy.rig import EITHER_WAY, SECONDS, Connection, Rig, proxying
from tests.broker.proxy.test_channel import begin, open_later

LISTED = ((9, 1), (9, 0), (6, 0), (5, 0), (2, 0), (4, 0), (10, 0), (11, 0), (3, 0))
ATTACH = message(ClientMain.ATTACH_CHANNELS)


async def begin_as(
    rig: Rig, fake: FakeServer, policy: LinkPolicy
) -> tuple[Connection, int, Served]:
    """A session under that policy, its request for channels taken."""
    rig.gate.allow(fake.target, "the-hypervisors", policy=policy_for(policy))
    main, session, served = await begin(rig, fake)
    assert await served.hears(len(ATTACH)) == ATTACH
    return main, session, served


async def say(viewer: Connection, kind: int, body: bytes = b"") -> None:
    viewer.writer.write(message(kind, body))
    await viewer.writer.drain()


async def received(viewer: Connection, kind: int) -> bytes:
    """The body of the next message, which is of that kind."""
    async with asyncio.timeout(SECONDS):
        came, size = struct.unpack("<HI", await viewer.reader.readexactly(6))
        assert came == kind
        return await viewer.reader.readexactly(size)


def is_about(channel: str, notice: ConnectionRefused | ChannelClosed | Judged) -> bool:
    return notice.channel == channel


def agent(kind: int, body: bytes = b"") -> bytes:
    return AGENT_HEADER.pack(1, kind, 0, len(body)) + body


@pytest.mark.parametrize(
    ("policy", "hidden"),
    [
        (LinkPolicy(), set()),
        (LinkPolicy(usb=False), {9}),
        (LinkPolicy(audio_in=False), {6}),
        (LinkPolicy(file_transfer=False), {11}),
        (LinkPolicy(view_only=True), {6, 9, 10, 11}),
    ],
    ids=["all", "no usb", "no microphone", "no files", "view only"],
)
async def test_channels_that_are_taken_away_are_not_listed_and_refused_all_the_same(
    rig: Rig, fake: FakeServer, policy: LinkPolicy, hidden: set[int]
) -> None:
    main, session, served = await begin_as(rig, fake, policy)
    await served.say(message(Main.CHANNELS_LIST, encode_channels(LISTED)))
    shown = decode_channels(await received(main, Main.CHANNELS_LIST))
    assert shown == tuple(pair for pair in LISTED if pair[0] not in hidden)
    for kind in hidden:
        viewer = await rig.open(ChannelType(kind), connection_id=session)
        refused = await viewer.until(LinkRefused)
        assert refused == LinkRefused(LinkError.PERMISSION_DENIED, ticket_judged=False)
        name = f"{ChannelType(kind).name.lower()}.0"
        refused_there = partial(is_about, name)
        told = await rig.gate.heard(ConnectionRefused, refused_there)
        assert told.reason == "channel-forbidden"
    assert fake.served.empty()


@EITHER_WAY
async def test_keys_and_pointer_of_who_only_looks_on_go_nowhere(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin_as(rig, fake, LinkPolicy(view_only=True))
    viewer, served = await open_later(rig, fake, ChannelType.INPUTS, session)
    for _ in range(100):
        await say(viewer, 111, bytes(10))
        await say(viewer, 112, bytes(11))
    for kind, size in ((101, 4), (102, 4), (103, 2), (104, 3), (113, 3), (114, 3)):
        await say(viewer, kind, bytes(size))
    await say(viewer, 3, bytes(12))
    assert await served.hears(18) == message(3, bytes(12))
    await served.say(message(102, b"\2\0"))
    assert await received(viewer, 102) == b"\2\0"


async def test_the_pointers_mode_and_the_agent_are_out_of_reach_of_who_only_looks_on(
    rig: Rig, fake: FakeServer
) -> None:
    main, _, served = await begin_as(rig, fake, LinkPolicy(view_only=True))
    await say(main, ClientMain.MOUSE_MODE_REQUEST, b"\2\0")
    for kind in (1, 2, 4, 5, 7, 8, 9, 12, 14, 15, 16, 77):
        await say(main, ClientMain.AGENT_DATA, agent(kind, bytes(16)))
        assert await received(main, Main.AGENT_TOKEN) == struct.pack("<I", 1)
    announced = agent(6, struct.pack("<II", 1, 0x3FFFF))
    await say(main, ClientMain.AGENT_DATA, announced)
    heard = await served.hears(6 + len(announced))
    assert heard[:30] == message(ClientMain.AGENT_DATA, announced)[:30]
    assert struct.unpack("<I", heard[-4:])[0] == 0b1110_0011_0000_0101


async def test_the_clipboard_is_cut_in_both_directions_and_the_rest_goes_on(
    rig: Rig, fake: FakeServer
) -> None:
    main, _, served = await begin_as(rig, fake, LinkPolicy(clipboard=False))
    text = agent(4, bytes(5000))
    for piece in (text[:2048], text[2048:4096], text[4096:]):
        await say(main, ClientMain.AGENT_DATA, piece)
    resize = agent(2, bytes(28))
    await say(main, ClientMain.AGENT_DATA, resize)
    assert await served.hears(6 + len(resize)) == message(ClientMain.AGENT_DATA, resize)
    for _ in range(3):
        assert await received(main, Main.AGENT_TOKEN) == struct.pack("<I", 1)
    grab, reply = agent(7, bytes(8)), agent(3, bytes(8))
    await served.say(message(Main.AGENT_DATA, grab) + message(Main.AGENT_DATA, reply))
    assert await received(main, Main.AGENT_DATA) == reply


async def test_a_dropped_file_is_answered_and_its_bytes_go_nowhere(
    rig: Rig, fake: FakeServer
) -> None:
    main, _, served = await begin_as(rig, fake, LinkPolicy(file_transfer=False))
    said = agent(6, struct.pack("<II", 0, 1 << 14))
    await say(main, ClientMain.AGENT_DATA, said)
    await served.hears(6 + len(said))
    await say(main, ClientMain.AGENT_DATA, agent(10, struct.pack("<I", 3) + b"[vdagent-file-xfer]"))
    assert await received(main, Main.AGENT_TOKEN) == struct.pack("<I", 1)
    assert await received(main, Main.AGENT_DATA) == agent(11, struct.pack("<II", 3, 7))
    await say(main, ClientMain.AGENT_DATA, agent(12, struct.pack("<IQ", 3, 4) + b"data"))
    await say(main, 3, bytes(12))
    assert await served.hears(18) == message(3, bytes(12))


async def test_answers_do_not_cut_into_a_ping_that_passes(rig: Rig, fake: FakeServer) -> None:
    main, _, served = await begin_as(rig, fake, LinkPolicy(clipboard=False))
    ping = message(4, bytes(256_012))
    await served.say(ping[:100_000])
    for _ in range(10):
        await say(main, ClientMain.AGENT_DATA, agent(7, bytes(8)))
    await say(main, ClientMain.AGENT_DATA, agent(2, bytes(28)))
    await served.hears(6 + 48)
    await served.say(ping[100_000:])
    assert len(await received(main, 4)) == 256_012
    for _ in range(10):
        assert await received(main, Main.AGENT_TOKEN) == struct.pack("<I", 1)


async def test_a_viewer_that_provokes_answers_and_reads_none_is_ended(
    rig: Rig, fake: FakeServer
) -> None:
    main, _, served = await begin_as(rig, fake, LinkPolicy(clipboard=False))
    await served.say(message(4, bytes(256_012))[:100_000])
    for _ in range(500):
        await say(main, ClientMain.AGENT_DATA, agent(7, bytes(8)))
    ended = await rig.gate.heard(ChannelClosed, lambda n: n.channel == "main")
    assert ended.reason == "firewall"
    await served.is_closed()


async def test_a_link_to_everything_has_none_of_this(rig: Rig, fake: FakeServer) -> None:
    main, session, served = await begin_as(rig, fake, LinkPolicy())
    grab = agent(7, bytes(8))
    await say(main, ClientMain.AGENT_DATA, grab)
    assert await served.hears(6 + len(grab)) == message(ClientMain.AGENT_DATA, grab)
    viewer = await rig.open(ChannelType.USBREDIR, connection_id=session)
    linking = asyncio.ensure_future(viewer.until(Linked))
    await (await fake.next()).accept()
    await linking


async def test_what_a_policy_keeps_back_is_told_by_kind(rig: Rig, fake: FakeServer) -> None:
    main, session, _ = await begin_as(rig, fake, LinkPolicy(view_only=True))
    viewer, _ = await open_later(rig, fake, ChannelType.INPUTS, session)
    await say(viewer, 101, bytes(4))
    await say(viewer, 111, bytes(10))
    await say(viewer, 111, bytes(10))
    assert await judged(rig, "inputs.0", 3) == {
        ("dropped", "key-down"): 1, ("dropped", "mouse-motion"): 2,
    }  # fmt: skip
    await say(main, ClientMain.AGENT_DATA, agent(7, bytes(8)))
    told = await rig.gate.heard(Judged, partial(is_about, "main"))
    assert (told.verdict, told.messages) == ("dropped", (("agent clipboard-grab", 1),))


async def judged(rig: Rig, channel: str, count: int) -> Counter[tuple[str, str]]:
    """How many of what kind, once so many were judged there; it is told from time to time."""
    async with asyncio.timeout(SECONDS):
        for turn in itertools.count(1):
            await rig.gate.heard(Judged, partial(is_about, channel), turn)
            seen = Counter[tuple[str, str]]()
            for notice in rig.gate.notices:
                if isinstance(notice, Judged) and notice.channel == channel:
                    seen.update({(notice.verdict, kind): many for kind, many in notice.messages})
            if seen.total() >= count:
                return seen
    raise AssertionError


async def test_what_ends_a_channel_is_told_before_its_end(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin_as(rig, fake, LinkPolicy())
    viewer, served = await open_later(rig, fake, ChannelType.INPUTS, session)
    await say(viewer, 999, b"1234")
    closed = await rig.gate.heard(ChannelClosed, partial(is_about, "inputs.0"))
    told = await rig.gate.heard(Judged, partial(is_about, "inputs.0"))
    assert closed.reason == "firewall"
    assert (told.verdict, told.messages) == ("refused", (("message 999", 1),))
    assert rig.gate.notices.index(told) < rig.gate.notices.index(closed)
    assert await served.is_closed() == b""


async def test_a_firewall_that_warns_lets_by_what_harms_no_machine(
    tmp_path: Path, fake: FakeServer
) -> None:
    limits = Limits(close_seconds=0.3, firewall_warns=True, report_seconds=0.05)
    async with proxying(tmp_path, limits=limits) as rig:
        _, session, _ = await begin_as(rig, fake, LinkPolicy())
        viewer, served = await open_later(rig, fake, ChannelType.INPUTS, session)
        odd = message(999, b"1234")
        viewer.writer.write(odd)
        assert await served.hears(len(odd)) == odd
        await served.say(odd)
        assert await received(viewer, 999) == b"1234"
        told = await rig.gate.heard(Judged, partial(is_about, "inputs.0"))
        assert (told.verdict, told.messages[0][0]) == ("warned", "message 999")
        viewer.writer.write(message(4))
        closed = await rig.gate.heard(ChannelClosed, partial(is_about, "inputs.0"))
        assert closed.reason == "firewall"
        assert await served.is_closed() == b""
