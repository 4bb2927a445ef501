"""The rules of spice-server's survival, and the answers viewers get, against a scripted server."""

from __future__ import annotations

import asyncio
import ssl
import struct
from pathlib import Path

import pytest

from broker.model import SessionId, TcpTarget
from broker.proxy.gate import ChannelClosed, ConnectionRefused, SessionClosed, Traffic
from broker.proxy.limits import Limits
from broker.proxy.tls import TlsEngine
from broker.spice.client import AgentChanged, Linked, MainReady, MessageReceived
from broker.spice.client_link import ClientLink, LinkOffered, LinkRefused
from broker.spice.constants import AUTH_CAPS, COMMON_CAPS, ChannelType, LinkError
from broker.spice.ticket import seal
from broker.spice.wire import Header, LinkHeader, LinkMess, LinkReply, MainInit, message
from tests.broker.proxy.fake_server import BACKEND_ID, FakeServer, Served
from tests.broker.proxy.rig import EITHER_WAY, SECONDS, TOKEN, Connection, Rig, proxying

SESSION = SessionId(f"s-{TOKEN}")
SET_ACK = message(3, struct.pack("<II", 1, 20))
INIT = message(101, b"\1" + bytes(8) + b"\1" + bytes(4))


async def begin(rig: Rig, fake: FakeServer) -> tuple[Connection, int, Served]:
    """A session with MAIN: the viewer's end, its session id, and the server's end."""
    opening = asyncio.ensure_future(rig.open_main())
    served = await fake.main()
    main, session = await opening
    return main, session, served


async def open_later(
    rig: Rig, fake: FakeServer, kind: ChannelType, session: int
) -> tuple[Connection, Served]:
    viewer = await rig.open(kind, connection_id=session)
    linking = asyncio.ensure_future(viewer.until(Linked))
    served = await fake.next()
    if kind is not ChannelType.DISPLAY:
        await served.accept()
    await linking
    return viewer, served


# --- MAIN -----------------------------------------------------------------------------------------


@EITHER_WAY
async def test_the_server_gets_its_own_ticket_and_sane_capabilities(
    rig: Rig, fake: FakeServer
) -> None:
    _, _, served = await begin(rig, fake)
    assert served.ticket == b"the-hypervisors"
    assert served.mess == LinkMess(0, ChannelType.MAIN, 0, COMMON_CAPS, 0b0110)


async def test_the_viewer_gets_another_session_id_and_the_server_its_own(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    assert session not in (0, BACKEND_ID)
    _, served = await open_later(rig, fake, ChannelType.INPUTS, session)
    assert served.mess.connection_id == BACKEND_ID


async def test_main_with_a_connection_id_never_reaches_the_server(
    rig: Rig, fake: FakeServer
) -> None:
    main = await rig.open(ChannelType.MAIN, connection_id=7)
    refused = await main.until(LinkRefused)
    assert refused == LinkRefused(LinkError.BAD_CONNECTION_ID, ticket_judged=False)
    assert fake.connected.empty()


async def test_a_session_whose_end_is_cut_short_is_told_of_all_the_same(
    tmp_path: Path, fake: FakeServer
) -> None:
    limits = Limits(drain_seconds=0.0, close_seconds=SECONDS)
    async with proxying(tmp_path, limits=limits) as rig:
        rig.gate.allow(fake.target)
        main, session, main_served = await begin(rig, fake)
        await open_later(rig, fake, ChannelType.INPUTS, session)
        main.reset()
        await main_served.is_closed()  # and now the server closes the rest: this one does not
        assert not [n for n in rig.gate.notices if isinstance(n, SessionClosed)]
        assert rig.proxy.session_count == 1
    closed = await rig.gate.heard(SessionClosed)
    assert (closed.session, closed.reason, closed.established) == (SESSION, "client-reset", True)
    assert rig.proxy.session_count == rig.proxy.connection_count == 0


async def test_the_viewer_is_told_yes_only_after_the_server_said_so(
    rig: Rig, fake: FakeServer
) -> None:
    main = await rig.open(ChannelType.MAIN)
    opening = asyncio.ensure_future(main.until(Linked))
    served = await fake.next()
    assert not main.client.linked
    await served.accept()
    await opening


async def test_a_viewer_with_long_headers_gets_them_on_both_legs(
    rig: Rig, fake: FakeServer
) -> None:
    viewer = await rig.open(ChannelType.MAIN)
    viewer.client._link.mess = LinkMess(0, 1, 0, AUTH_CAPS, 0)
    reader, writer = await rig.raw()
    writer.write(LinkMess(0, 1, 0, AUTH_CAPS, 0).encode())
    viewer.client._outgoing.clear()
    viewer.reader, viewer.writer = reader, writer
    opening = asyncio.ensure_future(viewer.until(MainReady))
    served = await fake.main(mini=False)
    await opening
    assert served.mess.common_caps == AUTH_CAPS
    assert await served.hears(18) == Header(104, 0, 1).encode(mini=False)


async def test_a_server_with_long_headers_only_is_a_plain_failure(
    rig: Rig, fake: FakeServer
) -> None:
    fake.common_caps = AUTH_CAPS
    main = await rig.open(ChannelType.MAIN)
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    assert (await rig.gate.heard(SessionClosed)).reason == "backend-headers"


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (LinkError.PERMISSION_DENIED, "backend-ticket"),
        (LinkError.NEED_SECURED, "backend-needs-tls"),
        (LinkError.CHANNEL_NOT_AVAILABLE, "backend-no-channel"),
        (LinkError.ERROR, "backend-refused"),
    ],
)
async def test_why_a_server_refused_is_told(
    rig: Rig, fake: FakeServer, refusal: LinkError, reason: str
) -> None:
    fake.refusal = refusal
    main = await rig.open(ChannelType.MAIN)
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    closed = await rig.gate.heard(SessionClosed)
    assert (closed.reason, closed.established) == (reason, False)


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request", LinkHeader(9).encode()])
async def test_what_is_not_spice_is_unreachable(rig: Rig, fake: FakeServer, garbage: bytes) -> None:
    fake.garbage = garbage
    main = await rig.open(ChannelType.MAIN)
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    assert (await rig.gate.heard(SessionClosed)).reason == "backend-unreachable"


async def test_a_server_whose_key_is_no_key_is_unreachable(rig: Rig, fake: FakeServer) -> None:
    fake.garbage = LinkReply(0, bytes(162), COMMON_CAPS).encode()
    main = await rig.open(ChannelType.MAIN)
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    assert (await rig.gate.heard(SessionClosed)).reason == "backend-unreachable"


async def test_a_server_that_goes_on_before_it_has_our_ticket_is_not_shown_one(
    rig: Rig, fake: FakeServer
) -> None:
    fake.garbage = LinkReply(0, fake.key.public_bytes, COMMON_CAPS).encode() + bytes(4)
    main = await rig.open(ChannelType.MAIN)
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    closed = await rig.gate.heard(SessionClosed)
    assert closed.reason == "backend-unreachable"
    assert "before it has our ticket" in closed.text
    assert fake.served.empty()


async def test_migration_ends_the_session(rig: Rig, fake: FakeServer) -> None:
    main, _, served = await begin(rig, fake)
    await served.say(message(111, bytes(24)))
    await main.closed()
    closed = await rig.gate.heard(SessionClosed)
    assert (closed.reason, closed.text) == ("firewall", "message 111 of 24 bytes refused: type")


@EITHER_WAY
async def test_a_session_id_that_nobody_has_is_a_result_after_the_ticket(rig: Rig) -> None:
    viewer = await rig.open(ChannelType.INPUTS, connection_id=99)
    refused = await viewer.until(LinkRefused)
    assert refused == LinkRefused(LinkError.BAD_CONNECTION_ID, ticket_judged=True)
    assert (await rig.gate.heard(ConnectionRefused)).reason == "session-unknown"


# --- DISPLAY --------------------------------------------------------------------------------------


async def test_the_ticket_of_a_display_waits_for_its_init_and_travels_with_it(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(ChannelType.DISPLAY, connection_id=session)
    say = viewer.client.data_to_send
    viewer.client.data_to_send = lambda: b""  # type: ignore[method-assign]
    viewer.client.receive_data(await viewer.reader.readexactly(16 + 178 + 8))
    viewer.writer.write(say())
    viewer.client.receive_data(await viewer.reader.readexactly(4))
    assert viewer.client.linked  # the viewer was told yes, and yet
    await asyncio.sleep(0)
    assert fake.served.empty()  # the server has seen no ticket
    viewer.writer.write(say())
    served = await fake.next()
    assert await served.hears(len(INIT)) == INIT
    assert await served.hears(7) == message(103, b"\1")
    await served.accept(SET_ACK)


@EITHER_WAY
async def test_main_stays_open_while_a_display_is_crossing(rig: Rig, fake: FakeServer) -> None:
    main, session, main_served = await begin(rig, fake)
    _, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
    main.reset()  # the viewer's process was killed
    assert await served.hears(len(INIT) + 7) == INIT + message(103, b"\1")
    await rig.gate.heard(ChannelClosed, lambda closed: closed.channel == "main")
    assert not main_served.reader.at_eof()
    assert not [n for n in rig.gate.notices if isinstance(n, SessionClosed)]
    await served.accept(SET_ACK)
    await main_served.is_closed()
    await served.is_closed()
    assert (await rig.gate.heard(SessionClosed)).reason.startswith("client")


@EITHER_WAY
async def test_a_display_that_vanished_is_closed_only_after_set_ack(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
    viewer.reset()
    await served.hears(len(INIT) + 7)
    await served.accept()
    await served.say(SET_ACK[:5])
    assert not served.reader.at_eof()
    await served.say(SET_ACK[5:])
    await served.is_closed()
    closed = await rig.gate.heard(ChannelClosed)
    assert closed.channel == "display.0"


async def test_what_may_make_the_server_drop_a_display_waits_for_set_ack(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(ChannelType.DISPLAY, connection_id=session)
    say = viewer.client.data_to_send
    viewer.client.receive_data(await viewer.reader.readexactly(16 + 178 + 8))
    codecs, report = message(105, b"\xff"), message(102, b"\xff" * 32)
    viewer.writer.write(say() + INIT + message(103, b"\1") + codecs + report)
    served = await fake.next()
    assert await served.hears(len(INIT) + 7) == INIT + message(103, b"\1")
    await served.accept()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await served.reader.read(1)
    await served.say(SET_ACK)
    assert await served.hears(len(codecs + report)) == codecs + report


@pytest.mark.parametrize("kind", [ChannelType.PORT, ChannelType.WEBDAV])
async def test_a_port_that_vanished_is_closed_only_after_its_init(
    kind: ChannelType, rig: Rig, fake: FakeServer
) -> None:
    main, session, main_served = await begin(rig, fake)
    viewer = await rig.open(kind, connection_id=session)
    linking = asyncio.ensure_future(viewer.until(Linked))
    served = await fake.next()
    linking.cancel()
    viewer.reset()
    main.reset()
    await served.accept()
    await rig.gate.heard(ChannelClosed, lambda closed: closed.channel == "main")
    assert not served.reader.at_eof()
    assert not main_served.reader.at_eof()
    first = message(201, bytes(10))
    await served.say(first[:-1])  # over TLS a header and its body come one after the other
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await served.reader.read(1)
    await served.say(first[-1:])
    await served.is_closed()
    await main_served.is_closed()


async def test_a_device_can_still_answer_a_viewer_that_is_gone(rig: Rig, fake: FakeServer) -> None:
    """spice-server aborts when a write fails while the device takes what the viewer said last."""
    _, session, _ = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.USBREDIR, session)
    viewer.reset()
    assert await served.is_closed() == b""
    for _ in range(20):
        await served.say(message(101, bytes(50_000)))
    served.writer.close()
    await served.writer.wait_closed()
    closed = await rig.gate.heard(ChannelClosed)
    assert (closed.channel, closed.reason) == ("usbredir.0", "client-reset")


async def test_a_usb_channel_is_linked_without_compression(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin(rig, fake)
    reader, writer = await rig.raw()
    link = ClientLink(LinkMess(session, ChannelType.USBREDIR, 0, COMMON_CAPS, 0x03))
    writer.write(link.data_to_send())
    async with asyncio.timeout(SECONDS):
        (offered,) = link.receive_data(await reader.readexactly(16 + LinkReply.SIZE + 8))
    assert isinstance(offered, LinkOffered)
    assert offered.reply.channel_caps == fake.channel_caps & ~1
    link.present(seal(TOKEN.encode(), offered.reply.public_key))
    writer.write(link.data_to_send())
    served = await fake.next()
    assert served.mess.channel_caps == 0x02


async def test_a_ports_init_reaches_its_viewer_though_nothing_follows(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(ChannelType.PORT, connection_id=session)
    linking = asyncio.ensure_future(viewer.until(MessageReceived))
    served = await fake.next()
    await served.accept(message(201, bytes(10)))
    assert (await linking).type == 201


async def test_the_first_message_reaches_the_viewer_whole(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
    await served.hears(len(INIT) + 7)
    await served.accept(SET_ACK + message(102))
    await viewer.until(MessageReceived, lambda event: event.type == 102)
    assert await served.hears(10) == message(1, struct.pack("<I", 1))


async def test_a_display_refused_by_the_server_is_closed(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
    served.link.refuse(LinkError.PERMISSION_DENIED)
    await served.say(served.link.data_to_send())
    await viewer.closed()
    assert (await rig.gate.heard(ConnectionRefused)).reason == "backend-ticket"


@pytest.mark.parametrize(
    "first",
    [
        message(101, b"\1" + bytes(8) + b"\1\xff\xff\xff\x7f"),
        message(101, bytes(13)),
        message(103, b"\1"),
        INIT + message(4),
        INIT + INIT,
    ],
    ids=["window", "short", "not-init", "flush-mark", "two-inits"],
)
async def test_a_display_that_begins_wrongly_costs_the_server_nothing(
    rig: Rig, fake: FakeServer, first: bytes
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(ChannelType.DISPLAY, connection_id=session)
    say = viewer.client.data_to_send
    viewer.client.receive_data(await viewer.reader.readexactly(16 + 178 + 8))
    viewer.writer.write(say() + first)
    await viewer.closed()
    refused = await rig.gate.heard(ConnectionRefused)
    assert refused.reason in ("display-init", "firewall")
    assert fake.served.empty()


# --- endings --------------------------------------------------------------------------------------


@EITHER_WAY
async def test_ending_a_session_closes_main_first_and_reads_the_rest_to_its_end(
    rig: Rig, fake: FakeServer
) -> None:
    main, session, main_served = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.INPUTS, session)
    assert rig.proxy.end_session(SESSION, "disconnected")
    await main_served.is_closed()
    assert not served.reader.at_eof()
    served.writer.close()
    await served.is_closed()
    await main.closed()
    await viewer.closed()
    closed = await rig.gate.heard(SessionClosed)
    assert (closed.reason, closed.established) == ("disconnected", True)
    assert not rig.proxy.end_session(SESSION)


async def test_a_server_that_does_not_close_the_rest_is_not_waited_for_for_ever(
    tmp_path: Path, fake: FakeServer
) -> None:
    async with proxying(tmp_path, limits=Limits(close_seconds=0.05)) as rig:
        rig.gate.allow(fake.target)
        _, session, _ = await begin(rig, fake)
        _, served = await open_later(rig, fake, ChannelType.INPUTS, session)
        rig.proxy.end_session(SESSION)
        await served.is_closed()
        await rig.gate.heard(SessionClosed)


async def test_ending_a_session_breaks_off_a_channel_that_is_being_set_up(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, main_served = await begin(rig, fake)
    fake.silent = True
    viewer = await rig.open(ChannelType.DISPLAY, connection_id=session)
    await fake.connected.get()
    reader = await fake.connected.get()
    rig.proxy.end_session(SESSION)
    await main_served.is_closed()
    await viewer.closed()
    assert await reader.read(-1) == b""
    await rig.gate.heard(SessionClosed)


async def test_no_display_crosses_once_the_session_is_over(rig: Rig, fake: FakeServer) -> None:
    _, session, main_served = await begin(rig, fake)
    viewer = await rig.open(ChannelType.DISPLAY, connection_id=session)
    say = viewer.client.data_to_send
    viewer.client.receive_data(await viewer.reader.readexactly(16 + 178 + 8))
    viewer.writer.write(say())
    viewer.client.receive_data(await viewer.reader.readexactly(4))
    rig.proxy.end_session(SESSION)
    viewer.writer.write(say())
    await main_served.is_closed()
    await viewer.closed()
    assert fake.served.empty()


async def test_a_new_channel_of_an_ended_session_is_unknown(rig: Rig, fake: FakeServer) -> None:
    main, session, _ = await begin(rig, fake)
    await main.close()
    await rig.gate.heard(SessionClosed)
    viewer = await rig.open(ChannelType.INPUTS, connection_id=session)
    assert (await viewer.until(LinkRefused)).error == LinkError.BAD_CONNECTION_ID


async def test_a_viewer_is_let_go_though_the_machine_hangs_in_a_crossing(
    rig: Rig, fake: FakeServer
) -> None:
    main, session, main_served = await begin(rig, fake)
    _, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
    await served.hears(len(INIT) + 7)
    rig.proxy.end_session(SESSION)
    await main.closed()
    assert not main_served.reader.at_eof()
    await served.accept(SET_ACK)
    await main_served.is_closed()
    assert (await rig.gate.heard(SessionClosed)).reason == "disconnected"


async def test_a_proxy_that_stops_waits_for_a_display_that_is_crossing(
    tmp_path: Path, fake: FakeServer
) -> None:
    async def answer(rig: Rig, main_served: Served, served: Served) -> None:
        closed = await rig.gate.heard(ChannelClosed)
        assert (closed.channel, closed.reason) == ("main", "proxy-stopped")
        assert not main_served.reader.at_eof()
        await served.accept(SET_ACK)
        await main_served.is_closed()

    async with asyncio.TaskGroup() as group, proxying(tmp_path, limits=Limits()) as rig:
        rig.gate.allow(fake.target)
        _, session, main_served = await begin(rig, fake)
        _, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
        await served.hears(len(INIT) + 7)
        group.create_task(answer(rig, main_served, served))
    assert (await rig.gate.heard(SessionClosed)).reason == "proxy-stopped"


# --- time-outs ------------------------------------------------------------------------------------

SHORT = Limits(link_seconds=1.0, close_seconds=0.05)
"""Time enough on a slow machine for what is to be done before nothing more is said."""


async def test_a_viewer_that_says_nothing_is_closed(tmp_path: Path) -> None:
    async with proxying(tmp_path, limits=SHORT) as rig:
        await rig.raw()
        refused = await rig.gate.heard(ConnectionRefused)
        assert refused.reason == "handshake-timeout"
        assert "request" in refused.text


async def test_a_viewer_that_shows_no_ticket_is_closed(tmp_path: Path) -> None:
    async with proxying(tmp_path, limits=SHORT) as rig:
        await rig.open(ChannelType.MAIN)
        refused = await rig.gate.heard(ConnectionRefused)
        assert (refused.reason, refused.channel) == ("handshake-timeout", "main")
        assert "ticket" in refused.text


async def test_a_display_that_sends_no_init_is_closed_and_was_never_shown_a_ticket(
    tmp_path: Path, fake: FakeServer
) -> None:
    limits = Limits(link_seconds=3.0, close_seconds=0.05)
    async with proxying(tmp_path, limits=limits) as rig:
        rig.gate.allow(fake.target)
        _, session, _ = await begin(rig, fake)
        viewer = await rig.open(ChannelType.DISPLAY, connection_id=session)
        say = viewer.client.data_to_send
        viewer.client.receive_data(await viewer.reader.readexactly(16 + 178 + 8))
        viewer.writer.write(say())
        refused = await rig.gate.heard(ConnectionRefused)
        assert "display request" in refused.text
        assert fake.served.empty()


async def test_a_server_that_says_nothing_is_unreachable(tmp_path: Path, fake: FakeServer) -> None:
    fake.silent = True
    async with proxying(tmp_path, limits=Limits(backend_seconds=0.05)) as rig:
        rig.gate.allow(fake.target)
        main = await rig.open(ChannelType.MAIN)
        with pytest.raises(ConnectionError):
            await main.until(Linked)
        assert (await rig.gate.heard(SessionClosed)).reason == "backend-unreachable"


async def test_a_server_that_does_not_judge_our_ticket_is_unreachable(
    tmp_path: Path, fake: FakeServer
) -> None:
    async with proxying(tmp_path, limits=Limits(backend_seconds=0.2)) as rig:
        rig.gate.allow(fake.target)
        main = await rig.open(ChannelType.MAIN)
        with pytest.raises(ConnectionError):
            await main.until(Linked)
        assert (await rig.gate.heard(SessionClosed)).reason == "backend-unreachable"


# --- relaying -------------------------------------------------------------------------------------


@EITHER_WAY
async def test_a_large_picture_arrives_whole_though_the_viewer_reads_late(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.DISPLAY, session)
    await served.hears(len(INIT) + 7)
    size = 40_000_000
    await served.accept(SET_ACK)
    pattern = bytes(range(251)) * (size // 251 + 1)
    sending = asyncio.ensure_future(
        served.say(struct.pack("<HI", 304, size) + pattern[:size] + message(102))
    )
    async with asyncio.timeout(SECONDS):
        assert await viewer.reader.readexactly(14) == SET_ACK
        assert await viewer.reader.readexactly(6) == struct.pack("<HI", 304, size)
        assert await viewer.reader.readexactly(size) == pattern[:size]
        assert await viewer.reader.readexactly(6) == message(102)
        await sending


@EITHER_WAY
async def test_a_flood_of_small_messages_arrives_in_order(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin(rig, fake)
    viewer, served = await open_later(rig, fake, ChannelType.RECORD, session)
    flood = b"".join(message(101, struct.pack("<I", n)) for n in range(50_000))
    sending = asyncio.ensure_future(viewer.writer.drain())
    viewer.writer.write(flood)
    assert await served.hears(len(flood)) == flood
    await sending
    await served.say(flood)
    async with asyncio.timeout(SECONDS):
        assert await viewer.reader.readexactly(len(flood)) == flood


async def test_traffic_is_told_about_once_and_when_it_changed(
    tmp_path: Path, fake: FakeServer
) -> None:
    async with proxying(tmp_path, limits=Limits(report_seconds=0.02)) as rig:
        rig.gate.allow(fake.target)
        _, _, served = await begin(rig, fake)
        first = await rig.gate.heard(Traffic)
        assert first.bytes_to_client >= 6 + MainInit.SIZE
        await served.say(message(107))
        second = await rig.gate.heard(Traffic, lambda t: t.bytes_to_client > first.bytes_to_client)
        assert second.bytes_to_client == 6 + MainInit.SIZE + 6


async def test_a_port_where_nobody_listens_is_unreachable(rig: Rig) -> None:
    rig.gate.allow(TcpTarget("127.0.0.1", port=1), token="closed-port")
    main = await rig.open(ChannelType.MAIN, ticket="closed-port")
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    assert (await rig.gate.heard(SessionClosed)).reason == "backend-unreachable"


# --- what the house says --------------------------------------------------------------------------


async def test_a_house_in_trouble_is_a_plain_failure(rig: Rig) -> None:
    main = await rig.open(ChannelType.MAIN, ticket="trouble")
    with pytest.raises(ConnectionError):
        await main.until(Linked)
    assert (await rig.gate.heard(ConnectionRefused)).reason == "store"


async def test_a_house_in_trouble_refuses_a_later_channel(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(ChannelType.CURSOR, connection_id=session, channel_id=8)
    assert await viewer.until(LinkRefused) == LinkRefused(LinkError.ERROR, ticket_judged=False)


@pytest.mark.parametrize("reason", ["limit", "limit-label"])
async def test_a_house_that_is_full_lets_a_viewer_go_without_asking_for_a_password(
    rig: Rig, reason: str
) -> None:
    """Any result but 0 at this stage makes remote-viewer ask for one, and none would help."""
    reader, writer = await rig.raw()
    writer.write(LinkMess(0, 1, 0, COMMON_CAPS, 0).encode())
    async with asyncio.timeout(SECONDS):
        reply = LinkReply.decode((await reader.readexactly(16 + 178 + 8))[16:])
        assert reply.error == 0
        writer.write(struct.pack("<I", 1) + seal(reason.encode(), reply.public_key))
        assert await reader.read() == b""
    assert (await rig.gate.heard(ConnectionRefused)).reason == reason


async def test_a_session_that_is_full_refuses_a_channel_by_a_link_error(
    rig: Rig, fake: FakeServer
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(ChannelType.CURSOR, connection_id=session, channel_id=7)
    refused = await viewer.until(LinkRefused)
    assert refused == LinkRefused(LinkError.PERMISSION_DENIED, ticket_judged=False)
    assert (await rig.gate.heard(ConnectionRefused)).reason == "limit"


@EITHER_WAY
@pytest.mark.parametrize("password", [b"\xff\xfe", b""], ids=["not-text", "nothing"])
async def test_a_password_that_is_no_token_is_refused(rig: Rig, password: bytes) -> None:
    main = await rig.open(ChannelType.MAIN)
    main.client._ticket = password
    assert await main.until(LinkRefused) == LinkRefused(7, ticket_judged=True)


@EITHER_WAY
async def test_a_ticket_sealed_for_another_key_is_refused(rig: Rig) -> None:
    reader, writer = await rig.raw()
    writer.write(LinkMess(0, 1, 0, COMMON_CAPS, 0).encode())
    async with asyncio.timeout(SECONDS):
        await reader.readexactly(16 + 178 + 8)
        writer.write(struct.pack("<I", 1) + bytes(128))
        assert await reader.readexactly(4) == struct.pack("<I", 7)
    assert (await rig.gate.heard(ConnectionRefused)).reason == "token-unreadable"


@EITHER_WAY
@pytest.mark.parametrize("kind", [ChannelType.SMARTCARD, ChannelType.TUNNEL])
async def test_channels_that_nobody_may_open_are_refused(
    rig: Rig, fake: FakeServer, kind: ChannelType
) -> None:
    _, session, _ = await begin(rig, fake)
    viewer = await rig.open(kind, connection_id=session)
    assert await viewer.until(LinkRefused) == LinkRefused(7, ticket_judged=False)


async def test_two_links_of_one_channel_at_once_leave_one(rig: Rig, fake: FakeServer) -> None:
    _, session, _ = await begin(rig, fake)
    first = await rig.open(ChannelType.CURSOR, connection_id=session)
    second = await rig.open(ChannelType.CURSOR, connection_id=session)
    first_ends = asyncio.ensure_future(first.until(Linked))
    served = await fake.next()
    refused = await second.until(LinkRefused)
    await served.accept()
    await first_ends
    assert refused.error == LinkError.CHANNEL_NOT_AVAILABLE


async def test_a_connection_that_ends_by_a_bug_of_ours_ends_alone(
    rig: Rig, fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    main, _, served = await begin(rig, fake)
    broken = await rig.open(ChannelType.MAIN, ticket="bug")
    with pytest.raises(ConnectionError):
        await broken.until(Linked)
    async with asyncio.timeout(SECONDS):
        while "did not foresee" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0)
    await served.say(message(107))
    await main.until(AgentChanged)


async def test_the_ticket_key_is_renewed(tmp_path: Path, fake: FakeServer) -> None:
    async with proxying(tmp_path, limits=Limits(key_seconds=0.01)) as rig:
        seen = set[bytes]()
        async with asyncio.timeout(SECONDS):
            while len(seen) < 2:
                reader, writer = await rig.raw()
                writer.write(LinkMess(0, 1, 0, COMMON_CAPS, 0).encode())
                seen.add((await reader.readexactly(16 + 178 + 8))[20 : 20 + 162])
                writer.close()


async def test_another_certificate_serves_those_who_come_later(rig: Rig, fake: FakeServer) -> None:
    class NoTls:
        def engine(self) -> TlsEngine:
            raise AssertionError("asked for")

    main, _, served = await begin(rig, fake)
    rig.proxy.renew_tls(NoTls())
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await rig.raw()
    await served.say(message(107))
    await main.until(AgentChanged)
