"""Our client against our server on one wire, and each against recorded bytes of real programs."""

import struct

import pytest

from broker.spice.client_link import ClientLink, LinkAccepted, LinkOffered, LinkRefused
from broker.spice.constants import COMMON_CAPS, LinkError
from broker.spice.policy import is_safe_display_init
from broker.spice.server_link import LinkRequested, ServerLink, TicketReceived
from broker.spice.ticket import TicketKey, seal
from broker.spice.wire import LinkMess, MainInit
from tests.broker.spice.conftest import recording


class LinkPair:
    """Both ends of one wire; `step` bytes travel at a time."""

    def __init__(self, key: TicketKey, password: bytes, step: int) -> None:
        self.key, self.password, self.step = key, password, step
        self.client, self.server = ClientLink(LinkMess(0, 1, 0, COMMON_CAPS, 6)), ServerLink()
        self.opened: bytes | None = None
        self.end: LinkAccepted | LinkRefused | None = None

    def run(self) -> None:
        while not self.client.done:
            self._carry_to_server(self.client.data_to_send())
            self._carry_to_client(self.server.data_to_send())

    def _carry_to_server(self, data: bytes) -> None:
        for start in range(0, len(data), self.step):
            for event in self.server.receive_data(data[start : start + self.step]):
                match event:
                    case LinkRequested():
                        self.server.offer(self.key.public_bytes, COMMON_CAPS, 0x0F)
                    case TicketReceived(sealed):
                        self.opened = self.key.open(sealed)
                        self._judge()

    def _judge(self) -> None:
        if self.opened == b"sesame":
            self.server.accept()
        else:
            self.server.refuse(LinkError.PERMISSION_DENIED)

    def _carry_to_client(self, data: bytes) -> None:
        for start in range(0, len(data), self.step):
            for event in self.client.receive_data(data[start : start + self.step]):
                match event:
                    case LinkOffered(reply):
                        self.client.present(seal(self.password, reply.public_key))
                    case _:
                        self.end = event


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_our_client_and_our_server_agree(key: TicketKey, step: int) -> None:
    pair = LinkPair(key, b"sesame", step)
    pair.run()
    assert (pair.opened, pair.end) == (b"sesame", LinkAccepted())


def test_our_client_understands_our_refusal(key: TicketKey) -> None:
    pair = LinkPair(key, b"wrong", 10)
    pair.run()
    assert pair.end == LinkRefused(LinkError.PERMISSION_DENIED, ticket_judged=True)


VIEWERS = ["remote-viewer-11", "spicy-screenshot-0.42", "ryll-0.3"]


@pytest.mark.parametrize("channel", ["main", "display"])
@pytest.mark.parametrize("viewer", VIEWERS)
def test_a_real_viewer_is_understood(key: TicketKey, viewer: str, channel: str) -> None:
    link = ServerLink()
    (requested,) = link.receive_data(recording(viewer)[channel])
    assert isinstance(requested, LinkRequested)
    assert requested.mess.connection_id == {"main": 0, "display": 0x1234}[channel]
    (ticket,) = link.offer(key.public_bytes, COMMON_CAPS, 0)
    assert isinstance(ticket, TicketReceived)
    assert key.open(ticket.sealed) == b"ticket-of-the-recording"
    assert link.trailing() == b""


@pytest.mark.parametrize("viewer", VIEWERS)
def test_the_display_init_of_a_real_viewer_is_safe(viewer: str) -> None:
    first = recording(viewer)["display-init"]
    assert first[:6] == struct.pack("<HI", 101, 14)
    assert is_safe_display_init(first[6:])


def test_qemu_accepts_us() -> None:
    link = ClientLink(LinkMess(0, 1, 0, COMMON_CAPS, 6))
    answer = recording("qemu-7.2")["main"]
    (offered,) = link.receive_data(answer[:-4])
    assert isinstance(offered, LinkOffered)
    assert (offered.reply.common_caps, offered.reply.channel_caps) == (0x0B, 0x0F)
    link.present(seal(b"sesame", offered.reply.public_key))
    assert link.receive_data(answer[-4:]) == [LinkAccepted()]
    assert link.mini_header


def test_the_first_message_of_qemu_is_main_init() -> None:
    first = recording("qemu-7.2")["main-init"]
    assert first[:6] == struct.pack("<HI", 103, MainInit.SIZE)
    assert MainInit.decode(first[6:]).agent_tokens == 10


@pytest.mark.parametrize(("case", "error"), [("wrong-ticket", 7), ("inputs", 8)])
def test_qemu_refuses_by_a_result(case: str, error: int) -> None:
    link = ClientLink(LinkMess(0, 1, 0, COMMON_CAPS, 6))
    answer = recording("qemu-7.2")[case]
    link.receive_data(answer[:-4])
    link.present(bytes(128))
    assert link.receive_data(answer[-4:]) == [LinkRefused(error, ticket_judged=True)]


def test_qemu_answers_a_stranger_as_we_do() -> None:
    server = ServerLink()
    server.receive_data(b"XXXX" + bytes(40))
    assert server.data_to_send() == recording("qemu-7.2")["bad-magic"]
