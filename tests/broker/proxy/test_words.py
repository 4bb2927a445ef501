"""What workers say to each other arrives as it was said."""

from __future__ import annotations

import asyncio
import socket

import pytest

from broker.latency import Tcp, Timing
from broker.model import LinkPolicy, SessionId, TcpTarget
from broker.proxy.gate import Admission, ChannelClosed, Judged, Timed
from broker.proxy.link_policy import policy_for
from broker.proxy.words import Ended, Pressed, Seated, Wire, Word, decoded, encoded

SESSION = SessionId("abcdefghijkl")


@pytest.mark.parametrize(
    "word",
    [
        Timed(SESSION, "main", Timing({3: 1}, {}, {40: 2}, Tcp(0.5, 1, 2), None)),
        Pressed(12.5),
        Judged(SESSION, "inputs.0", "dropped", (("key-down", 2), ("message 999", 1))),
        Seated(
            Admission(
                SESSION,
                b"d" * 32,
                TcpTarget("192.0.2.1", 5900),
                ticket="secret",
                policy=policy_for(LinkPolicy(view_only=True)),
            ),
            7,
        ),
    ],
    ids=["times", "press", "verdicts", "policy"],
)
def test_a_links_policy_and_what_came_of_it_pass_between_workers(word: Word) -> None:
    assert decoded(encoded(word)) == word


async def test_last_words_are_heard_also_when_the_answer_to_them_finds_nobody() -> None:
    heard: list[Word] = []
    lost = asyncio.Event()
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    wire = Wire(heard.append, lost.set)
    await asyncio.get_running_loop().create_unix_connection(lambda: wire, sock=ours)
    closed = ChannelClosed(SESSION, "inputs.0", "client-closed", 3, 2)
    theirs.sendall(encoded(closed))
    theirs.close()
    wire.say(Ended("client-closed"))  # before the loop has looked: MAIN ended at the same moment
    async with asyncio.timeout(60):
        await lost.wait()
    assert heard == [closed]
