from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from broker import tokens
from broker.config.locations import Locations
from broker.events import Event, Kind
from broker.model import MachineId, Power
from broker.store.store import Store
from tests.broker.store.nouns import LAB, NOW, TICKET, event, key, machine, session, token
from tests.fake_clock import FakeClock

# -- wanted


def test_what_is_wanted_is_kept_until_it_is_dropped(store: Store) -> None:
    store.put_wanted(key("a"), Power.ON)
    store.put_wanted(key("b"), Power.ON)
    store.put_wanted(key("b"), Power.OFF)
    assert store.wanted() == {key("a"): Power.ON, key("b"): Power.OFF}
    store.drop_wanted(key("a"))
    store.drop_wanted(key("never"))
    assert store.wanted() == {key("b"): Power.OFF}


# -- events


def test_an_event_comes_back_as_it_was_written_with_its_number(store: Store) -> None:
    written = store.add_event(event())
    assert written.id > 0
    assert store.events() == [written]


def test_an_event_may_be_about_nothing_in_particular(store: Store) -> None:
    written = store.add_event(Event(at=NOW, kind=Kind.PROXY_STARTED, text="up"))
    assert store.events() == [written]


def test_events_written_together_keep_their_order_and_have_numbers(store: Store) -> None:
    first = store.add_event(event())
    told = [event(text=str(number), at=NOW - timedelta(seconds=number)) for number in range(3)]
    store.add_events(told)
    found = store.events(after=first.id)
    assert [replace(each, id=told[0].id) for each in found] == told
    assert first.id < found[0].id < found[1].id < found[2].id


def test_events_come_oldest_first_the_newest_of_them(store: Store) -> None:
    written = [store.add_event(event(text=str(number))) for number in range(5)]
    assert store.events(limit=2) == written[-2:]
    assert store.events(after=written[2].id) == written[3:]
    assert store.events(limit=0) == []


def test_old_events_are_forgotten_and_numbers_never_come_again(store: Store) -> None:
    old = store.add_event(event())
    new = store.add_event(event(at=NOW + timedelta(seconds=5)))
    assert store.prune(NOW + timedelta(seconds=1)) == 1
    assert store.events() == [new]
    assert store.prune(NOW + timedelta(days=1)) == 1
    assert store.add_event(event()).id > new.id > old.id


# -- readers


def test_every_write_changes_the_version_whoever_wrote(
    store: Store, locations: Locations, clock: FakeClock, url: str | None
) -> None:
    other = Store.open(locations, url=url, clock=clock)
    seen = [store.data_version()]
    store.add_event(event())
    seen.append(store.data_version())
    other.add_event(event())
    seen.append(store.data_version())
    assert len(set(seen)) == 3
    other.close()


def test_reading_changes_nothing(store: Store) -> None:
    before = store.data_version()
    store.machines()
    store.sessions()
    store.events()
    assert store.data_version() == before


def test_verbs_of_many_threads_do_not_get_in_each_others_way(store: Store) -> None:
    def work(number: int) -> None:
        for _ in range(20):
            store.add_event(event(text=str(number)))
            store.machines()
            store.data_version()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.events(limit=1000)) == 160


# -- secrets


def test_neither_ticket_nor_token_stands_anywhere_in_the_state_directory(
    store: Store, locations: Locations, url: str | None
) -> None:
    if url is not None:
        pytest.skip("it has no file")
    secret = tokens.mint()
    digest = tokens.digest(secret)
    store.put_machines(LAB, [machine("a")], tickets={MachineId("a"): TICKET}, kept=True)
    store.add_token(token(digest, uuid="a"))
    store.open_session(digest, session(uuid="a"))
    store.put_machines(LAB, [machine("a")], tickets={MachineId("a"): TICKET + "2"}, kept=True)
    held = b"".join(path.read_bytes() for path in locations.state_dir.iterdir() if path.is_file())
    assert digest in held
    assert TICKET.encode() not in held
    assert secret.encode() not in held
    store.close()
    held = b"".join(path.read_bytes() for path in locations.state_dir.iterdir() if path.is_file())
    assert TICKET.encode() not in held
    assert secret.encode() not in held
