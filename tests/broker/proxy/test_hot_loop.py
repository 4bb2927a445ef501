"""The short way into the relay's callbacks, and that the loop is asyncio's own in all else."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest

from broker.proxy.leg import Leg
from broker.proxy.watch import new_loop, settle, watch_of
from tests.broker.proxy.rig import SECONDS

hot_loop = pytest.importorskip("broker.proxy.hot_loop", exc_type=ImportError)
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def run(main: Coroutine[Any, Any, Any], *, debug: bool = False) -> Any:
    with asyncio.Runner(loop_factory=new_loop, debug=debug) as runner:
        return runner.run(main)


def hot() -> Any:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, hot_loop.HotLoop)
    assert watch_of(loop) is loop.hot
    return loop.hot


def let_go(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """Watch none of them any more, and close both ends."""
    for near, far in pairs:
        hot().remove_reader(near.fileno())
        near.close()
        far.close()


@pytest.mark.parametrize("debug", [False, True])
def test_a_callback_wakes_a_task_though_nothing_else_is_ready(pair: Pair, debug: bool) -> None:
    async def main() -> bytes:
        near, far = pair
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        hot().add_reader(near.fileno(), lambda: got.set_result(near.recv(9)))
        far.send(b"ping")
        try:
            return await got
        finally:
            hot().remove_reader(near.fileno())

    assert run(main(), debug=debug) == b"ping"


def test_a_timer_that_a_callback_sets_is_kept(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def on_readable() -> None:
            near.recv(9)
            loop.call_later(0.01, done.set)

        hot().add_reader(near.fileno(), on_readable)
        far.send(b"x")
        await done.wait()
        hot().remove_reader(near.fileno())

    run(main())


def test_timers_tasks_threads_and_signals_get_their_turn_beside_callbacks_without_end(
    pair: Pair,
) -> None:
    async def main() -> None:
        near, far = pair
        loop = asyncio.get_running_loop()
        rounds = 0

        def play() -> None:
            nonlocal rounds
            rounds += 1
            near.recv(9)
            far.send(b"x")  # readable again at once, for ever

        hot().add_reader(near.fileno(), play)
        far.send(b"x")
        signalled = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, signalled.set)
        cold, cold_far = socket.socketpair()
        with cold, cold_far:
            cold.setblocking(False)
            await asyncio.sleep(0.01)
            assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
            os.kill(os.getpid(), signal.SIGUSR1)
            await signalled.wait()
            cold_far.send(b"cold")
            assert await loop.sock_recv(cold, 9) == b"cold"
            ticks = 0
            for _ in range(10):
                await asyncio.sleep(0)
                ticks += 1
        hot().remove_reader(near.fileno())
        loop.remove_signal_handler(signal.SIGUSR1)
        assert (ticks, rounds > 3) == (10, True)

    run(main())


def test_a_callback_that_fails_is_told_and_harms_nobody_else(pair: Pair) -> None:
    async def main() -> list[str]:
        near, far = pair
        loop, told, again = asyncio.get_running_loop(), [], asyncio.Event()

        def fail() -> None:
            near.recv(1)
            if near in failed:
                again.set()
                return
            failed.append(near)
            raise ValueError("no good")

        failed: list[socket.socket] = []
        loop.set_exception_handler(lambda _loop, context: told.append(str(context["exception"])))
        hot().add_reader(near.fileno(), fail)
        far.send(b"ab")
        await again.wait()
        hot().remove_reader(near.fileno())
        return told

    assert run(main()) == ["no good"]


def test_an_interrupt_in_a_callback_ends_the_loop(pair: Pair) -> None:
    async def main() -> None:
        near, far = pair

        def interrupt() -> None:
            near.recv(1)
            raise KeyboardInterrupt

        hot().add_reader(near.fileno(), interrupt)
        far.send(b"x")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            hot().remove_reader(near.fileno())

    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_a_task_that_waits_for_a_callback_can_be_cancelled(pair: Pair) -> None:
    async def main() -> None:
        near, _far = pair
        got: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hot().add_reader(near.fileno(), lambda: got.set_result(None))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await got
        hot().remove_reader(near.fileno())

    run(main())


def test_who_is_no_longer_watched_is_not_called_within_the_same_round() -> None:
    async def main() -> int:
        calls = 0
        pairs = [socket.socketpair() for _ in range(4)]

        def first_comes() -> None:
            nonlocal calls
            calls += 1
            for near, _ in pairs:
                hot().remove_reader(near.fileno())

        for near, far in pairs:
            hot().add_reader(near.fileno(), first_comes)
            far.send(b"x")
        await asyncio.sleep(0.01)
        for near, far in pairs:
            near.close()
            far.close()
        return calls

    assert run(main()) == 1


def test_readable_and_writable_at_once_and_a_peer_that_has_gone(pair: Pair) -> None:
    async def main() -> list[str]:
        near, far = pair
        seen: list[str] = []
        done = asyncio.Event()

        def on_writable() -> None:
            seen.append("out")
            hot().remove_writer(near.fileno())

        def on_readable() -> None:
            seen.append("end" if near.recv(9) == b"" else "in")
            if seen[-1] == "end":
                done.set()

        far.send(b"x")
        hot().add_reader(near.fileno(), on_readable)
        hot().add_writer(near.fileno(), on_writable)
        await asyncio.sleep(0.01)
        far.close()
        await done.wait()
        hot().remove_reader(near.fileno())
        hot().remove_reader(near.fileno())  # once more does no harm
        return seen

    assert run(main()) == ["in", "out", "end"]


def test_the_same_descriptor_can_be_handed_back_to_the_loop(pair: Pair) -> None:
    async def main() -> bytes:
        near, far = pair
        loop = asyncio.get_running_loop()
        got = b""
        for _ in range(3):
            hot().add_reader(near.fileno(), lambda: None)
            with pytest.raises(OSError, match="exists"):
                loop.add_reader(near.fileno(), lambda: None)
            hot().remove_reader(near.fileno())
            loop.call_soon(far.send, b"back")
            got = await loop.sock_recv(near, 9)
        return got

    assert run(main()) == b"back"


@pytest.mark.parametrize(("relays", "at_once"), [(1, 2), (2, 2), (5, 5), (12, 9)])
def test_links_that_are_ready_together_leave_relays_their_turn_between_them(
    relays: int, at_once: int
) -> None:
    links = 9

    async def main() -> Counter[int]:
        done, rounds = asyncio.Event(), 0
        called: dict[int, int] = {}
        pairs = [socket.socketpair() for _ in range(relays + links)]

        def round_begins() -> None:
            nonlocal rounds
            rounds += 1

        def linked(sock: socket.socket) -> None:
            sock.recv(1)
            assert sock.fileno() not in called
            called[sock.fileno()] = rounds
            if len(called) == links:
                done.set()

        # What nobody reads is there in each round. The first counts them, and is a relay too.
        for index, (near, _) in enumerate(pairs[:relays]):
            hot().add_reader(near.fileno(), (lambda: None) if index else round_begins)
        for near, _ in pairs[relays:]:
            hot().add_patient_reader(near.fileno(), partial(linked, near))
        for _, far in pairs:
            far.send(b"x")
        await done.wait()
        let_go(pairs)
        return Counter(called.values())

    per_round = run(main())
    assert (per_round.total(), max(per_round.values())) == (links, at_once)


def test_patient_readers_that_are_always_ready_leave_the_others_their_turn() -> None:
    async def main() -> list[int]:
        """How often each was called until the last had its turn."""
        pairs = [socket.socketpair() for _ in range(7)]
        called = [0] * len(pairs)
        done = asyncio.Event()

        def never_reads(index: int) -> None:
            called[index] += 1
            if all(called) or called[index] == 100:
                done.set()

        for index, (near, far) in enumerate(pairs):
            hot().add_patient_reader(near.fileno(), partial(never_reads, index))
            far.send(b"x")
        await done.wait()
        let_go(pairs)
        return called

    assert max(run(main())) <= 2  # in turn


def test_one_that_was_put_off_and_is_watched_no_more_is_not_called() -> None:
    async def main() -> int:
        pairs = [socket.socketpair() for _ in range(5)]
        called, rounds = 0, 0
        done = asyncio.Event()

        def ends_the_others() -> None:
            nonlocal called
            called += 1
            for near, _ in pairs:
                hot().remove_reader(near.fileno())

        def counts() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 5:
                done.set()

        for near, far in pairs:
            hot().add_patient_reader(near.fileno(), ends_the_others)
            far.send(b"x")
        near, far = socket.socketpair()
        hot().add_reader(near.fileno(), counts)
        far.send(b"x")
        await done.wait()
        hot().remove_reader(near.fileno())
        for each in (*pairs, (near, far)):
            each[0].close()
            each[1].close()
        return called

    assert run(main()) == 1


def test_a_patient_reader_becomes_a_relay_and_may_be_written_to(pair: Pair) -> None:
    async def main() -> list[str]:
        near, far = pair
        seen: list[str] = []
        done = asyncio.Event()

        def says(word: str) -> None:
            seen.append(word)
            if word == "out":
                hot().remove_writer(near.fileno())
            else:
                near.recv(9)
                done.set()

        for add, word in (
            (hot().add_patient_reader, "patient"),
            (hot().add_patient_reader, "patient still"),
            (hot().add_reader, "relay"),
            (hot().add_patient_reader, "patient again"),
        ):
            done.clear()
            add(near.fileno(), partial(says, word))
            hot().add_writer(near.fileno(), partial(says, "out"))
            far.send(b"x")
            await done.wait()
        hot().remove_reader(near.fileno())
        far.send(b"x")
        assert await asyncio.get_running_loop().sock_recv(near, 9) == b"x"  # it is not watched
        return seen

    patient = ["out", "patient", "out", "patient still"]
    assert run(main()) == [*patient, "relay", "out", "out", "patient again"]


def test_a_patient_reader_that_fails_harms_nobody_else(pair: Pair) -> None:
    async def main() -> list[str]:
        near, far = pair
        other, its_end = socket.socketpair()
        told: list[str] = []
        done = asyncio.Event()

        def fails() -> None:
            near.recv(9)
            raise ZeroDivisionError

        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: told.append(type(context["exception"]).__name__)
        )
        with other, its_end:
            hot().add_patient_reader(near.fileno(), fails)
            hot().add_patient_reader(other.fileno(), done.set)
            far.send(b"x")
            its_end.send(b"x")
            await done.wait()
            for each in (near, other):
                hot().remove_reader(each.fileno())
        return told

    assert run(main()) == ["ZeroDivisionError"]


@pytest.mark.parametrize("make_loop", [new_loop, asyncio.SelectorEventLoop])
def test_a_leg_that_was_read_from_waits_until_there_is_room_to_write(
    pair: Pair, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    near, far = pair
    said = bytes(5_000_000)

    async def main() -> int:
        loop = asyncio.get_running_loop()
        leg = Leg(near)
        asked = asyncio.ensure_future(leg.receive(1))
        await asyncio.sleep(0)  # now it waits to be told
        far.send(b"?")
        assert await asked == b"?"
        sending = asyncio.ensure_future(leg.send(said))
        heard = 0
        while heard < len(said):
            heard += len(await loop.sock_recv(far, 1 << 20))
        await sending
        far.send(b"!")
        assert await leg.receive(1) == b"!"
        leg.close()
        return heard

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(asyncio.wait_for(main(), SECONDS)) == len(said)


def test_in_debug_mode_a_slow_callback_is_told(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        near, far = pair
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.slow_callback_duration = 0.0

        def slow() -> None:
            near.recv(1)
            done.set()

        hot().add_reader(near.fileno(), slow)
        far.send(b"x")
        await done.wait()
        hot().remove_reader(near.fileno())

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main(), debug=True)
    assert any(
        ".slow at" in each.getMessage() and "took" in each.getMessage() for each in caplog.records
    )


def test_what_is_wrong_is_told_as_asyncio_tells_it() -> None:
    with closing(new_loop()) as loop:
        loop.set_debug(True)
        nothing: Any = "nothing to call"
        with pytest.raises(TypeError, match="callable"):
            loop.call_soon(nothing, context=copy_context())
        loop.set_debug(False)
        loop.call_soon(loop.stop, context=copy_context())
        loop.run_forever()
    for context in (None, copy_context()):
        with pytest.raises(RuntimeError, match="closed"):
            loop.call_soon(print, context=context)


def test_a_loop_that_is_stopped_from_a_callback_stops(pair: Pair) -> None:
    near, far = pair
    with closing(new_loop()) as loop:
        watch_of(loop).add_reader(near.fileno(), loop.stop)
        far.send(b"x")
        loop.run_forever()
        watch_of(loop).remove_reader(near.fileno())


def test_streams_servers_and_subprocesses_work_as_ever() -> None:
    async def main() -> tuple[bytes, bytes]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(9))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            echoed = await reader.read()
            writer.close()
            await writer.wait_closed()
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
        return echoed, (await process.communicate())[0]

    assert run(main()) == (b"hello", b"hi\n")


def test_a_plain_loop_is_its_own_watch() -> None:
    with closing(asyncio.SelectorEventLoop(selectors.SelectSelector())) as loop:
        assert watch_of(loop) is loop


def test_what_start_up_made_is_not_looked_at_again() -> None:
    interval = sys.getswitchinterval()
    try:
        settle()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)
