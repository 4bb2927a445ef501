"""Who may reach what. The store is the real one: its transactions are half of the promise."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from broker import tokens
from broker.config.locations import Locations
from broker.errors import Occupied, Refused, StoreError
from broker.events import Kind
from broker.model import (
    LinkPolicy,
    Machine,
    MachineId,
    MachineKey,
    SourceName,
    State,
    TcpTarget,
    Token,
    WhenOccupied,
)
from broker.model import Protocol as Spoken
from broker.service.admission import Admission, Admitted
from broker.store.store import Store
from tests.conftest import FakeClock

LAB = SourceName("lab")
KEY = MachineKey(LAB, MachineId("00000000-0000-0000-0000-000000000001"))
WEB = Machine(key=KEY, name="web-01", state=State.UNKNOWN, target=TcpTarget("192.0.2.1", 5900))
CLIENT = "198.51.100.7:40000"


@pytest.fixture
def store(locations: Locations, clock: FakeClock) -> Iterator[Store]:
    store = Store.open(locations, clock=clock)
    store.put_configured([(LAB, "static")])
    store.put_machines(LAB, [WEB], tickets={KEY.uuid: "the-ticket"}, kept=True)
    yield store
    store.close()


@pytest.fixture
def admission(store: Store, clock: FakeClock) -> Admission:
    return Admission(store, clock, worker=4711)


def issue(
    store: Store,
    clock: FakeClock,
    *,
    ttl: float = 60,
    label: str = "",
    policy: LinkPolicy | None = None,
) -> str:
    secret = tokens.mint()
    now = clock.now()
    store.add_token(
        Token(
            digest=tokens.digest(secret),
            key=KEY,
            created_at=now,
            expires_at=now + timedelta(seconds=ttl),
            label=label,
            policy=policy or LinkPolicy(),
        )
    )
    return secret


def refusal(admission: Admission, secret: str) -> Refused:
    with pytest.raises(Refused) as caught:
        admission.admit(secret, CLIENT)
    return caught.value


def test_a_good_token_opens_a_session_with_the_console_and_its_ticket(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    admitted = admission.admit(issue(store, clock, label="ana"), CLIENT)
    assert admitted.console is not None
    assert (admitted.console.target, admitted.console.ticket) == (WEB.target, "the-ticket")
    assert [
        (each.id, each.console, each.client, each.worker, each.label) for each in store.sessions()
    ] == [(admitted.session.id, "web-01", CLIENT, 4711, "ana")]


def test_a_token_opens_one_session(store: Store, clock: FakeClock, admission: Admission) -> None:
    secret = issue(store, clock)
    admission.admit(secret, CLIENT)
    assert refusal(admission, secret).reason == "token-used"
    assert len(store.sessions()) == 1


def test_of_many_at_once_with_one_token_one_gets_in(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    secret = issue(store, clock)

    def attempt(_: int) -> Admitted | Refused:
        try:
            return admission.admit(secret, CLIENT)
        except Refused as refused:
            return refused

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 1
    assert {each.reason for each in outcomes if isinstance(each, Refused)} == {"token-used"}


def test_an_expired_token_is_refused_and_says_since_when(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    secret = issue(store, clock, ttl=60)
    clock.forward(300)
    refused = refusal(admission, secret)
    assert refused.reason == "token-expired"
    assert "4" in refused.what
    assert "export-vv" in refused.fix


def test_a_revoked_token_is_refused(store: Store, clock: FakeClock, admission: Admission) -> None:
    secret = issue(store, clock)
    store.revoke_tokens(KEY)
    assert refusal(admission, secret).reason == "token-revoked"


@pytest.mark.parametrize("secret", ["", "x", "A" * 48, "A" * 60, "A" * 5000, "\N{SNOWMAN}"])
def test_what_is_no_token_of_ours_is_refused(admission: Admission, secret: str) -> None:
    assert refusal(admission, secret).reason == "token-unknown"


def test_a_token_for_a_machine_that_is_gone_opens_nothing(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    secret = issue(store, clock)
    store.put_machines(LAB, [], tickets={}, kept=True)
    assert refusal(admission, secret).reason == "machine-unknown"
    assert store.sessions() == []


def test_a_machine_without_a_screen_opens_no_session(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    secret = issue(store, clock)
    headless = Machine(key=KEY, name="web-01", state=State.UNKNOWN, protocol=Spoken.NONE)
    store.put_machines(LAB, [headless], tickets={}, kept=True)
    assert refusal(admission, secret).reason == "no-console"
    assert store.sessions() == []


def test_admissions_and_refusals_are_in_the_audit_log_without_a_secret(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    secret = issue(store, clock)
    admission.admit(secret, CLIENT)
    refusal(admission, secret)
    refusal(admission, "B" * 48)
    events = store.events()
    assert [(event.kind, event.reason, event.client) for event in events] == [
        (Kind.SESSION_OPENED, "", CLIENT),
        (Kind.SESSION_REFUSED, "token-used", CLIENT),
        (Kind.SESSION_REFUSED, "token-unknown", CLIENT),
    ]
    assert [event.key for event in events] == [KEY, KEY, None]
    assert secret not in repr(events)
    assert "the-ticket" not in repr(events)


FROM_LAB = LinkPolicy(view_only=True, sources_from=("198.51.100.0/24", "2001:db8::/32"))


@pytest.mark.parametrize(
    "client",
    ["198.51.100.7:1", "[2001:db8::7]:1", "[::ffff:198.51.100.7]:1", "[2001:db8::7%eth0]:1"],
    ids=["v4", "v6", "mapped", "scoped"],
)
def test_a_viewer_from_a_network_that_the_token_names_gets_in(
    store: Store, clock: FakeClock, admission: Admission, client: str
) -> None:
    secret = issue(store, clock, label="ana", policy=FROM_LAB)
    assert admission.admit(secret, client).session.policy == FROM_LAB
    (session,) = store.sessions()
    assert session.policy == FROM_LAB
    (event,) = store.events()
    assert event.text == (
        f"{client} opened lab/web-01 with the token for ana"
        " (view-only, from 198.51.100.0/24, from 2001:db8::/32)"
    )


@pytest.mark.parametrize("client", ["192.0.2.1:1", "[2001:db9::1]:1", "[::ffff:192.0.2.1]:1"])
def test_a_viewer_from_elsewhere_is_refused_and_the_token_stays_good(
    store: Store, clock: FakeClock, admission: Admission, client: str
) -> None:
    secret = issue(store, clock, policy=FROM_LAB)
    with pytest.raises(Refused) as caught:
        admission.admit(secret, client)
    assert caught.value.reason == "address"
    (event,) = store.events()
    assert (event.kind, event.reason, event.key) == (Kind.SESSION_REFUSED, "address", KEY)
    admission.admit(secret, CLIENT)


# --- somebody is there already --------------------------------------------------------------------


def test_a_console_in_use_is_refused_and_the_token_kept(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    admission.admit(issue(store, clock, label="ana"), CLIENT)
    secret = issue(store, clock)
    with pytest.raises(Occupied, match="ana") as caught:
        admission.admit(secret, CLIENT)
    assert (caught.value.in_turn, caught.value.reason) == (False, "occupied")
    store.close_session(store.sessions()[0].id, "client-closed", clock.now())
    assert admission.admit(secret, CLIENT).session.key == KEY


def test_a_second_entry_for_the_same_console_is_in_use_too(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    other = replace(WEB, key=MachineKey(LAB, MachineId("00000000-0000-0000-0000-000000000002")))
    store.put_machines(LAB, [WEB, other], tickets={}, kept=True)
    admission.admit(issue(store, clock), CLIENT)
    assert [each.key for each in store.occupants(other.key)] == [KEY]


def test_whoever_takes_over_has_the_other_session_ended_and_comes_again(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    first = admission.admit(issue(store, clock), CLIENT).session
    secret = issue(store, clock, policy=LinkPolicy(occupied=WhenOccupied.TAKE_OVER))
    with pytest.raises(Occupied) as caught:
        admission.admit(secret, CLIENT)
    assert caught.value.in_turn
    assert store.end_requests(4711) == {first.id: "taken-over"}
    assert store.sessions()[0].end_reason == ""
    store.close_session(first.id, "taken-over", clock.now())
    assert admission.admit(secret, CLIENT).session.id != first.id


def test_a_token_that_is_no_good_throws_nobody_off(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    admission.admit(issue(store, clock), CLIENT)
    secret = issue(store, clock, ttl=60, policy=LinkPolicy(occupied=WhenOccupied.TAKE_OVER))
    clock.forward(61)
    assert refusal(admission, secret).reason == "token-expired"
    assert store.end_requests(4711) == {}


def test_whoever_waits_comes_in_when_the_other_has_left(
    store: Store, clock: FakeClock, admission: Admission
) -> None:
    first = admission.admit(issue(store, clock), CLIENT).session
    secret = issue(store, clock, policy=LinkPolicy(occupied=WhenOccupied.WAIT))
    with pytest.raises(Occupied) as caught:
        admission.admit(secret, CLIENT)
    assert caught.value.in_turn
    assert store.end_requests(4711) == {}
    store.close_session(first.id, "client-closed", clock.now())
    admission.admit(secret, CLIENT)


def test_one_name_has_so_many_sessions(store: Store, clock: FakeClock) -> None:
    other = MachineKey(LAB, MachineId("00000000-0000-0000-0000-000000000002"))
    elsewhere = replace(WEB, key=other, target=TcpTarget("192.0.2.2", 5900))
    store.put_machines(LAB, [WEB, elsewhere], tickets={}, kept=True)
    admission = Admission(store, clock, worker=4711, per_label=1)
    admission.admit(issue(store, clock, label="ana"), CLIENT)
    secret = tokens.mint()
    later = clock.now() + timedelta(seconds=60)
    store.add_token(Token(tokens.digest(secret), other, clock.now(), later, "ana"))
    assert refusal(admission, secret).reason == "limit-label"
    assert [event.reason for event in store.events()][-1] == "limit-label"


@pytest.mark.parametrize("fails", ["kept_console", "add_event"])
def test_a_store_that_fails_in_the_middle_leaves_no_console_taken(
    store: Store,
    clock: FakeClock,
    admission: Admission,
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
) -> None:
    def fail(_: object) -> None:
        raise StoreError("It cannot be used")

    with monkeypatch.context() as broken:
        broken.setattr(store, fails, fail)
        with pytest.raises(StoreError):
            admission.admit(issue(store, clock), CLIENT)
    assert not store.sessions()
    admission.admit(issue(store, clock), CLIENT)
