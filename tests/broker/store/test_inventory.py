from __future__ import annotations

from datetime import timedelta

import pytest

from broker.config.locations import Locations
from broker.errors import NoConsole, NotFound, StoreError
from broker.model import (
    Console,
    HandOverTarget,
    Health,
    MachineId,
    SourceName,
    SourceStatus,
    State,
    Target,
    TcpTarget,
    UnixTarget,
)
from broker.store.store import Store
from tests.broker.store.nouns import HERE, LAB, NOW, TICKET, engine_of, key, machine, session, token
from tests.fake_clock import FakeClock


def names(store: Store) -> list[str]:
    return [stored.machine.name for stored in store.machines()]


# -- sources


def test_configured_sources_keep_their_order_and_start_new(store: Store) -> None:
    assert store.sources() == [
        SourceStatus(LAB, "static", Health.NEW),
        SourceStatus(HERE, "local", Health.NEW),
    ]


def test_a_status_comes_back_as_it_was_put_with_its_machines_counted(store: Store) -> None:
    status = SourceStatus(
        LAB, "static", Health.FAILED, "what", "fix", ("one", "two"), machines=99, listed_at=NOW
    )
    store.put_source_status(status)
    store.put_machines(LAB, [machine("a"), machine("b")], tickets={}, kept=False)
    found = store.sources()[0]
    assert found == SourceStatus(
        LAB, "static", Health.FAILED, "what", "fix", ("one", "two"), machines=2, listed_at=NOW
    )


def test_a_source_that_is_not_configured_can_have_a_status_until_the_next_reading(
    store: Store,
) -> None:
    store.put_source_status(SourceStatus(SourceName("sources.yaml"), "file", Health.FAILED))
    assert [source.name for source in store.sources()] == ["lab", "here", "sources.yaml"]
    store.put_configured([(LAB, "static"), (HERE, "local")])
    assert [source.name for source in store.sources()] == ["lab", "here"]


def test_removing_a_source_takes_its_machines_and_leaves_the_others(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    store.put_machines(HERE, [machine("b", HERE)], tickets={}, kept=False)
    store.put_configured([(HERE, "local")])
    assert names(store) == ["name-b"]


def test_configuring_the_same_again_keeps_machines_and_health(store: Store) -> None:
    store.put_source_status(SourceStatus(LAB, "static", Health.OK, listed_at=NOW))
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    store.put_configured([(HERE, "local"), (LAB, "static")])
    assert [(source.name, source.health, source.machines) for source in store.sources()] == [
        ("here", Health.NEW, 0),
        ("lab", Health.OK, 1),
    ]


def test_a_source_of_another_type_is_another_source(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    store.put_configured([(LAB, "proxmox"), (HERE, "local")])
    assert names(store) == []


def test_the_files_fingerprint_is_kept(store: Store) -> None:
    assert store.file_fingerprint() == ""
    store.put_file_fingerprint("one")
    store.put_file_fingerprint("two")
    assert store.file_fingerprint() == "two"


# -- machines


@pytest.mark.parametrize(
    "target",
    [
        None,
        TcpTarget("h", 5900),
        TcpTarget("h", None, 5901, "PEM", "CN=a\\,b"),
        UnixTarget("/run/ü.sock"),
        HandOverTarget("/run/ctl.sock"),
    ],
    ids=["none", "tcp", "tls", "unix", "hand-over"],
)
def test_a_machine_comes_back_as_it_was_put(store: Store, target: Target | None) -> None:
    shown = machine(target=target)
    store.put_machines(LAB, [shown], tickets={}, kept=False)
    assert store.machine(shown.key) == shown
    (stored,) = store.machines()
    assert (stored.machine, stored.stale, stored.seen_at, stored.sessions) == (shown, False, NOW, 0)


def test_times_come_back_aware_and_in_utc_to_the_microsecond(store: Store) -> None:
    store.put_machines(LAB, [machine()], tickets={}, kept=False)
    started = store.machine(key()).started_at
    assert started is not None
    assert started.utcoffset() == timedelta(0)
    assert started == machine().started_at


def test_machines_come_by_name_then_source(store: Store) -> None:
    store.put_machines(
        LAB, [machine("1", name="b"), machine("2", name="a")], tickets={}, kept=False
    )
    store.put_machines(HERE, [machine("3", HERE, name="a")], tickets={}, kept=False)
    found = [stored.machine.full_name for stored in store.machines()]
    assert found == ["here/a", "lab/a", "lab/b"]


def test_the_same_uuid_may_live_in_two_sources(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    store.put_machines(HERE, [machine("a", HERE)], tickets={}, kept=False)
    store.put_machines(HERE, [], tickets={}, kept=False)
    assert store.machine(key("a")) == machine("a")


def test_a_listing_says_what_is_new_changed_and_gone(store: Store) -> None:
    store.put_machines(
        LAB, [machine("same"), machine("other"), machine("gone")], tickets={}, kept=False
    )
    changed = store.put_machines(
        LAB,
        [machine("same"), machine("other", state=State.PAUSED), machine("new")],
        tickets={},
        kept=False,
    )
    assert changed == {key("other"), key("new"), key("gone")}
    assert sorted(names(store)) == ["name-new", "name-other", "name-same"]


def test_a_thousand_machines_can_go_at_once(store: Store) -> None:
    many = [machine(f"u{number}") for number in range(1200)]
    assert len(store.put_machines(LAB, many, tickets={}, kept=False)) == 1200
    assert len(store.put_machines(LAB, [], tickets={}, kept=False)) == 1200
    assert names(store) == []


def test_of_two_machines_with_one_uuid_the_last_counts(store: Store) -> None:
    store.put_machines(LAB, [machine("a", name="x"), machine("a", name="y")], tickets={}, kept=True)
    assert names(store) == ["y"]


def test_listing_the_same_again_writes_nothing(store: Store, clock: FakeClock) -> None:
    shown = [machine("a"), machine("b")]
    tickets = {MachineId("a"): TICKET}
    store.put_machines(LAB, shown, tickets=tickets, kept=True)
    before = store.data_version()
    clock.forward(5)
    assert store.put_machines(LAB, shown, tickets=tickets, kept=True) == set()
    assert store.data_version() == before


def test_a_listing_of_a_source_nobody_configured_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="other is not a configured source"):
        store.put_machines(SourceName("other"), [], tickets={}, kept=False)


def test_a_failing_source_leaves_its_machines_stale_until_it_answers(
    store: Store, clock: FakeClock
) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    clock.forward(60)
    store.put_source_status(SourceStatus(LAB, "static", Health.OK, listed_at=clock.now()))
    store.mark_stale(LAB)
    (stored,) = store.machines()
    assert (stored.stale, stored.seen_at) == (True, clock.now())
    assert store.put_machines(LAB, [machine("a")], tickets={}, kept=False) == {key("a")}
    assert not store.machines()[0].stale


def test_marking_stale_twice_writes_once(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    store.mark_stale(LAB)
    before = store.data_version()
    store.mark_stale(LAB)
    assert store.data_version() == before


def test_an_unchanged_machine_was_seen_when_its_source_was_listed(
    store: Store, clock: FakeClock
) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    clock.forward(30)
    store.put_source_status(SourceStatus(LAB, "static", Health.OK, listed_at=clock.now()))
    assert store.machines()[0].seen_at == clock.now()


def test_one_machines_seen_state_can_be_put_alone(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={MachineId("a"): TICKET}, kept=True)
    assert store.put_machine(machine("a", state=State.STOPPED))
    assert not store.put_machine(machine("a", state=State.STOPPED))
    assert store.machine(key("a")).state is State.STOPPED
    console = store.kept_console(key("a"))
    assert console is not None
    assert console.ticket == TICKET


def test_a_machine_nobody_listed_yet_can_be_put(store: Store) -> None:
    assert store.put_machine(machine("new"))
    assert names(store) == ["name-new"]


def test_a_machine_that_is_not_known_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="lab/u1 is not known"):
        store.machine(key())


def test_live_sessions_are_counted(store: Store) -> None:
    store.put_machines(LAB, [machine("u1"), machine("u2")], tickets={}, kept=False)
    for number in (1, 2, 3):
        digest = bytes([number]) * 32
        store.add_token(token(digest))
        store.open_session(digest, session(f"session{number}"))
    store.close_session(session("session1").id, "left", NOW)
    assert [stored.sessions for stored in store.machines()] == [2, 0]


# -- kept consoles


def test_a_kept_console_has_its_target_and_its_ticket(store: Store) -> None:
    shown = machine("a")
    store.put_machines(LAB, [shown], tickets={MachineId("a"): TICKET}, kept=True)
    assert shown.target is not None
    assert store.kept_console(key("a")) == Console(shown.target, ticket=TICKET)


def test_a_console_without_a_ticket_needs_none(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=True)
    console = store.kept_console(key("a"))
    assert console is not None
    assert console.ticket is None


def test_what_is_not_kept_is_asked_of_its_driver(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={}, kept=False)
    assert store.kept_console(key("a")) is None
    assert store.kept_console(key("unknown")) is None


def test_a_kept_machine_without_a_screen_says_so(store: Store) -> None:
    store.put_machines(LAB, [machine("a", target=None)], tickets={}, kept=True)
    with pytest.raises(NoConsole):
        store.kept_console(key("a"))


def test_a_changed_ticket_is_stored_and_an_unchanged_one_left(store: Store) -> None:
    shown, uuid = [machine("a")], MachineId("a")
    store.put_machines(LAB, shown, tickets={uuid: TICKET}, kept=True)
    assert store.put_machines(LAB, shown, tickets={uuid: TICKET}, kept=True) == set()
    assert store.put_machines(LAB, shown, tickets={uuid: "other"}, kept=True) == {key("a")}
    assert store.put_machines(LAB, shown, tickets={}, kept=True) == {key("a")}


def test_a_ticket_whose_key_is_gone_is_said_and_comes_back_with_a_listing(
    store: Store, locations: Locations
) -> None:
    shown, tickets = [machine("a")], {MachineId("a"): TICKET}
    store.put_machines(LAB, shown, tickets=tickets, kept=True)
    locations.secret_key.unlink()
    with pytest.raises(StoreError, match="cannot be read") as caught:
        store.kept_console(key("a"))
    assert "broker sources --refresh" in caught.value.fix
    assert store.put_machines(LAB, shown, tickets=tickets, kept=True) == {key("a")}
    console = store.kept_console(key("a"))
    assert console is not None
    assert console.ticket == TICKET


def test_a_damaged_key_stops_no_list(store: Store, locations: Locations) -> None:
    store.put_machines(LAB, [machine("a")], tickets={MachineId("a"): TICKET}, kept=True)
    locations.secret_key.write_text("junk")
    assert names(store) == ["name-a"]
    with pytest.raises(StoreError, match="damaged") as caught:
        store.kept_console(key("a"))
    assert f"rm {locations.secret_key}" in caught.value.fix


def test_a_ticket_moved_to_another_row_opens_nothing(store: Store) -> None:
    store.put_machines(LAB, [machine("a")], tickets={MachineId("a"): TICKET}, kept=True)
    store.put_machines(HERE, [machine("a", HERE)], tickets={MachineId("a"): TICKET}, kept=True)
    with engine_of(store).begin() as connection:
        connection.exec_driver_sql(
            "UPDATE machine SET sealed_ticket = (SELECT sealed_ticket FROM machine "
            "WHERE source = 'lab') WHERE source = 'here'"
        )
    with pytest.raises(StoreError, match="cannot be read"):
        store.kept_console(key("a", HERE))
