from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.errors import Ambiguous, NotFound, Refused
from broker.events import Kind
from broker.latency import Timing
from broker.model import MachineKey, SessionId
from broker.store.store import Store
from tests.broker.store.nouns import LAB, NOW, channel, key, machine, session, token
from tests.fake_clock import FakeClock

DIGEST = b"d" * 32


def open_one(store: Store, name: str = "abcdefghijkl", **changes: Any) -> None:
    digest = name.encode().ljust(32)
    store.add_token(token(digest))
    store.open_session(digest, session(name, **changes))


# -- tokens


def test_a_token_comes_back_as_it_was_put(store: Store) -> None:
    store.add_token(token())
    assert store.token(DIGEST) == token()


def test_a_token_nobody_made_is_none(store: Store) -> None:
    assert store.token(b"x" * 32) is None


def test_a_token_opens_a_session_and_is_used_up(store: Store) -> None:
    store.add_token(token())
    opened = store.open_session(DIGEST, session())
    assert opened == token(used_at=NOW, session=session().id)
    assert store.sessions() == [session()]


def refusal(store: Store) -> Refused:
    with pytest.raises(Refused) as caught:
        store.open_session(DIGEST, session("second"))
    assert store.sessions(live=False) in ([], [session()])
    return caught.value


def test_an_unknown_token_is_refused(store: Store) -> None:
    assert refusal(store).reason == "token-unknown"


def test_an_expired_token_is_refused_with_its_age_and_what_to_type(
    store: Store, clock: FakeClock
) -> None:
    store.put_machines(LAB, [machine()], tickets={}, kept=False)
    store.add_token(token())
    clock.forward(120 + 240)
    refused = refusal(store)
    assert refused.reason == "token-expired"
    assert str(refused) == (
        "The file for name-u1 is no longer valid: it expired 4m00s ago. "
        "Export it again: broker export-vv name-u1"
    )


def test_a_token_is_good_to_its_last_moment_and_not_at_its_end(
    store: Store, clock: FakeClock
) -> None:
    store.add_token(token())
    clock.forward(120)
    assert refusal(store).reason == "token-expired"
    clock.forward(-0.001)
    store.open_session(DIGEST, session())


def test_a_used_token_is_refused_even_when_it_has_expired_since(
    store: Store, clock: FakeClock
) -> None:
    store.add_token(token())
    store.open_session(DIGEST, session())
    clock.forward(1000)
    assert refusal(store).reason == "token-used"


def test_a_revoked_token_is_refused(store: Store) -> None:
    store.add_token(token())
    assert store.revoke_tokens() == 1
    assert refusal(store).reason == "token-revoked"


def test_revoking_counts_only_what_could_still_open_something(
    store: Store, clock: FakeClock
) -> None:
    store.add_token(token(b"1" * 32, expires_at=NOW + timedelta(seconds=1)))
    store.add_token(token(b"2" * 32))
    store.open_session(b"2" * 32, session())
    store.add_token(token(b"3" * 32))
    store.add_token(token(b"4" * 32, uuid="other"))
    clock.forward(2)
    assert store.revoke_tokens(key("u1")) == 1
    assert store.revoke_tokens() == 1
    assert store.revoke_tokens() == 0


def test_of_many_at_once_one_gets_the_session(store: Store) -> None:
    store.add_token(token())
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def try_it(name: str) -> None:
        start.wait()
        try:
            store.open_session(DIGEST, session(name))
            outcomes.append("opened")
        except Refused as refused:
            outcomes.append(refused.reason)

    threads = [threading.Thread(target=try_it, args=(f"s{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["opened"] + ["token-used"] * 7
    assert len(store.sessions()) == 1


def test_no_token_is_quoted_in_a_refusal(store: Store) -> None:
    store.add_token(token())
    store.open_session(DIGEST, session())
    assert "dddd" not in str(refusal(store))


def test_a_machines_name_cannot_break_the_line_of_a_refusal(store: Store, clock: FakeClock) -> None:
    store.put_machines(LAB, [machine(name="a\n\x1b[31mb")], tickets={}, kept=False)
    store.add_token(token())
    clock.forward(1000)
    assert "\x1b" not in str(refusal(store))
    assert "\n" not in str(refusal(store))


# -- sessions


def test_sessions_come_oldest_first(store: Store) -> None:
    open_one(store, "younger", started_at=NOW + timedelta(seconds=5))
    open_one(store, "older")
    assert [one.id for one in store.sessions()] == ["older", "younger"]


def test_a_closed_session_keeps_its_story_and_leaves_the_list(store: Store) -> None:
    open_one(store, channels=(channel(),))
    at = NOW + timedelta(seconds=9)
    assert store.close_session(session().id, "disconnected", at)
    assert store.sessions() == []
    assert store.sessions(live=False) == [session(ended_at=at, end_reason="disconnected")]


def test_several_that_ended_keep_their_last_counters_and_their_own_reasons(store: Store) -> None:
    open_one(store, "one", channels=(channel(),))
    open_one(store, "two")
    open_one(store, "three")
    ended = [(session("one", bytes_to_client=7), "left"), (session("two"), "disconnected")]
    store.close_sessions([*ended, (session("unknown"), "left")], NOW)
    assert [one.id for one in store.sessions()] == ["three"]
    found = {str(one.id): one for one in store.sessions(live=False)}
    assert found["one"] == session("one", bytes_to_client=7, ended_at=NOW, end_reason="left")
    assert found["two"].end_reason == "disconnected"
    assert "unknown" not in found


def test_closing_twice_keeps_the_first_reason(store: Store) -> None:
    open_one(store)
    store.close_session(session().id, "first", NOW)
    assert not store.close_session(session().id, "second", NOW)
    assert not store.close_session(SessionId("unknown"), "x", NOW)
    assert store.sessions(live=False)[0].end_reason == "first"


def test_counters_and_channels_of_many_sessions_are_put_at_once(store: Store) -> None:
    open_one(store, "one")
    open_one(store, "two")
    live = [
        session("one", bytes_to_client=2**40, bytes_to_server=3, channels=(channel("main"),)),
        session("two", channels=(channel("main"), channel("display.0"))),
    ]
    store.put_counters([*live, session("nobody")])
    found = {one.id: one for one in store.sessions()}
    assert found[SessionId("one")] == live[0]
    assert {one.name for one in found[SessionId("two")].channels} == {"main", "display.0"}


def test_counters_that_did_not_change_write_nothing(store: Store) -> None:
    open_one(store)
    live = session(bytes_to_client=5, channels=(channel("b"), channel("a")))
    store.put_counters([live])
    before = store.data_version()
    store.put_counters([live])
    assert store.data_version() == before


def test_a_channel_that_is_gone_leaves_the_session(store: Store) -> None:
    open_one(store, channels=(channel("main"), channel("usbredir.0")))
    store.put_counters([session(channels=(channel("main"),))])
    assert store.sessions()[0].channels == (channel("main"),)


def test_counters_of_a_closed_session_change_nothing(store: Store) -> None:
    open_one(store)
    store.close_session(session().id, "left", NOW)
    store.put_counters([session(bytes_to_client=9, channels=(channel(),))])
    closed = session(ended_at=NOW, end_reason="left")
    assert store.sessions(live=False) == [closed]


def test_a_session_is_found_by_the_start_of_its_id(store: Store) -> None:
    open_one(store, "abc111")
    open_one(store, "abd222")
    assert store.session("abc").id == "abc111"
    assert store.session("ABD222").id == "abd222"


def test_a_start_that_fits_two_lists_them(store: Store) -> None:
    open_one(store, "abc111")
    open_one(store, "abd222")
    with pytest.raises(Ambiguous) as caught:
        store.session("ab")
    assert caught.value.candidates == ("abc111", "abd222")


@pytest.mark.parametrize("prefix", ["", "zz", "%", "_bc111", "abc1112"])
def test_what_fits_no_session_is_not_found(store: Store, prefix: str) -> None:
    open_one(store, "abc111")
    with pytest.raises(NotFound):
        store.session(prefix)


def test_an_ended_session_is_found_only_when_asked_for(store: Store) -> None:
    open_one(store, "abc111")
    store.close_session(SessionId("abc111"), "left", NOW)
    with pytest.raises(NotFound):
        store.session("abc")
    assert store.session("abc", live=False).end_reason == "left"


def test_the_worker_that_holds_it_sees_the_wish_to_end_it(store: Store) -> None:
    open_one(store, "mine")
    open_one(store, "theirs", worker=200)
    store.ask_end(SessionId("mine"))
    store.ask_end(SessionId("theirs"))
    assert store.end_requests(100) == {"mine": "disconnected"}
    store.close_session(SessionId("mine"), "disconnected", NOW)
    assert store.end_requests(100) == {}


def test_a_session_that_is_not_live_cannot_be_asked_to_end(store: Store) -> None:
    with pytest.raises(NotFound, match="broker sessions"):
        store.ask_end(SessionId("nobody"))


def test_what_is_said_is_given_once_to_the_worker_that_holds_the_session(store: Store) -> None:
    open_one(store, "mine")
    open_one(store, "theirs", worker=200)
    open_one(store, "left")
    for name, text in (("mine", "one"), ("theirs", "two"), ("mine", "three"), ("left", "four")):
        store.put_message(SessionId(name), text, NOW)
    store.close_session(SessionId("left"), "disconnected", NOW)
    assert store.take_messages(100) == [("mine", "one"), ("mine", "three")]
    assert store.take_messages(100) == []
    assert store.take_messages(200) == [("theirs", "two")]
    with pytest.raises(NotFound, match="broker sessions"):
        store.put_message(SessionId("left"), "five", NOW)


def test_sessions_of_a_dead_worker_are_closed(store: Store) -> None:
    open_one(store, "lost", worker=1, channels=(channel(),))
    open_one(store, "held", worker=2, worker_life="now")
    open_one(store, "before", worker=2, worker_life="then")
    at = NOW + timedelta(seconds=3)

    def is_alive(worker: int, life: str) -> bool:
        return (worker, life) == (2, "now")

    lost = store.end_orphans(is_alive, at)
    assert sorted(one.id for one in lost) == ["before", "lost"]
    assert [one.id for one in store.sessions()] == ["held"]
    assert store.session("lost", live=False).end_reason == "worker-died"
    assert store.end_orphans(is_alive, at) == []
    told = [event for event in store.events(limit=9, after=0) if event.reason == "worker-died"]
    assert sorted(str(event.session) for event in told) == ["before", "lost"]
    assert {event.kind for event in told} == {Kind.SESSION_CLOSED}
    assert told[0].text.endswith(" after 3s: the relay worker that held it died")
    assert store.counts() == {"ended:worker-died": 2.0}


def test_what_is_old_and_over_is_forgotten(store: Store, clock: FakeClock) -> None:
    open_one(store, "ended")
    open_one(store, "live")
    store.close_session(SessionId("ended"), "left", NOW)
    clock.forward(1000)
    assert store.prune(NOW) == 0
    assert store.prune(clock.now()) == 1 + 2
    assert [one.id for one in store.sessions(live=False)] == ["live"]


def test_a_session_outlives_its_machine(store: Store) -> None:
    store.put_machines(LAB, [machine()], tickets={}, kept=False)
    open_one(store)
    store.put_machines(LAB, [], tickets={}, kept=False)
    assert store.sessions() == [replace(session(), key=MachineKey(LAB, key().uuid))]


def test_measures_alone_are_reason_enough_to_write(store: Store) -> None:
    open_one(store)
    seen = session(timing=Timing(draw={50: 1}), rate_to_client=1.0)
    store.put_counters([seen])
    assert store.sessions() == [seen]


def test_counters_add_up_and_are_kept(store: Store) -> None:
    assert store.counts() == {}
    store.add_counts({"opened": 1, "refused:token-used": 2})
    store.add_counts({"opened": 3})
    assert store.counts() == {"opened": 4, "refused:token-used": 2}
