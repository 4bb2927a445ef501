"""What consoles are called, and how one gets into a .vv file."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from broker import tokens, vv
from broker.config.settings import ProxySettings
from broker.errors import Ambiguous, NoConsole, NotFound, UsageError
from broker.events import Event, Kind
from broker.model import (
    Console,
    HandOverTarget,
    LinkPolicy,
    Machine,
    MachineId,
    MachineKey,
    ProxyStatus,
    SourceName,
    State,
    TcpTarget,
    Token,
    UnixTarget,
)
from broker.model import Protocol as Spoken
from broker.service.consoles import DRAINING, NO_PROXY, Certificate, Consoles
from broker.service.direct import REAL_TICKET
from broker.service.port import ExportRequest

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SERVING = ProxyStatus(serving=True, host="127.0.0.1", tls_port=5931, pid=1, workers=(2,))


class StoppedClock:
    """Always the same time."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Stored:
    """A machine as a store hands it out."""

    machine: Machine
    stale: bool = False
    seen_at: datetime | None = NOW
    sessions: int = 0


@dataclass
class Shelf:
    """The narrow store that consoles need, in memory."""

    rows: list[Stored]
    tokens: list[Token] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def machines(self) -> list[Stored]:
        return self.rows

    def find(self, reference: str) -> list[Stored]:
        return [
            row
            for row in self.rows
            if reference in (row.machine.name, row.machine.full_name)
            or reference.lower() in (row.machine.key.uuid, _whole(row.machine.key).lower())
        ]

    def add_token(self, token: Token) -> None:
        self.tokens.append(token)

    def add_event(self, event: Event) -> None:
        self.events.append(event)


def _whole(key: MachineKey) -> str:
    return f"{key.source}/{key.uuid}"


def machine(name: str, source: str = "lab", number: int = 1, **more: object) -> Machine:
    key = MachineKey(SourceName(source), MachineId(f"00000000-0000-0000-0000-{number:012d}"))
    return Machine(key=key, name=name, state=State.RUNNING, **more)  # type: ignore[arg-type]


def consoles(
    *machines: Machine,
    settings: ProxySettings | None = None,
    status: ProxyStatus = SERVING,
    kept: Console | None = None,
) -> tuple[Consoles, Shelf]:
    shelf = Shelf([Stored(each) for each in machines])
    made = Consoles(
        shelf,
        settings or ProxySettings(),
        StoppedClock(),
        certificate=lambda: Certificate("-----BEGIN CERTIFICATE-----\nAA==\n", "O=us,CN=here"),
        proxy_status=lambda: status,
        kept_console=lambda _: kept,
    )
    return made, shelf


WEB, DB, OTHER_DB = machine("web-01"), machine("db", number=2), machine("db", "prod", 3)


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("web-01", WEB),
        ("lab/web-01", WEB),
        ("00000000-0000-0000-0000-000000000001", WEB),
        ("prod/db", OTHER_DB),
        ("prod/00000000-0000-0000-0000-000000000003", OTHER_DB),
    ],
)
def test_a_console_is_named_by_name_full_name_or_uuid(reference: str, found: Machine) -> None:
    desk, _ = consoles(WEB, DB, OTHER_DB)
    assert desk.find(reference).machine is found


def test_an_ambiguous_name_lists_the_candidates() -> None:
    desk, _ = consoles(WEB, DB, OTHER_DB)
    with pytest.raises(Ambiguous) as caught:
        desk.find("db")
    assert caught.value.candidates == ("lab/db", "prod/db")


def test_two_of_one_name_in_one_source_are_told_apart_by_uuid() -> None:
    desk, _ = consoles(machine("db", number=1), machine("db", number=2))
    with pytest.raises(Ambiguous) as caught:
        desk.find("lab/db")
    for candidate in caught.value.candidates:
        assert desk.find(candidate).machine.name == "db"


def test_an_unknown_name_offers_the_nearest() -> None:
    desk, _ = consoles(WEB, DB)
    with pytest.raises(NotFound) as caught:
        desk.find("web-02")
    assert caught.value.fix == "Did you mean web-01?"


def test_a_reference_cannot_write_to_the_terminal() -> None:
    desk, _ = consoles(WEB)
    with pytest.raises(NotFound) as caught:
        desk.find("\x1b[2Jweb")
    assert "\x1b" not in str(caught.value)


def test_an_exported_file_names_the_proxy_and_holds_a_token_kept_as_digest_only() -> None:
    desk, shelf = consoles(WEB)
    exported = desk.export_vv(WEB.key, ExportRequest(label="ana"))
    read = vv.parse(exported.text)
    assert (read.host, read.tls_port, read.port) == ("127.0.0.1", 5931, None)
    assert [token.digest for token in shelf.tokens] == [tokens.digest(read.password)]
    assert shelf.tokens[0].expires_at == NOW + timedelta(seconds=120) == exported.expires_at
    assert read.password not in repr(exported) + repr(shelf)
    assert exported.notes == ()


def test_an_export_is_in_the_audit_log_without_the_token() -> None:
    desk, shelf = consoles(WEB)
    exported = desk.export_vv(WEB.key, ExportRequest(label="ana"))
    assert [event.kind for event in shelf.events] == [Kind.TOKEN_ISSUED]
    assert vv.parse(exported.text).password not in repr(shelf.events)
    assert "ana" in shelf.events[0].text


def test_without_a_proxy_the_file_is_made_all_the_same_and_says_so() -> None:
    desk, _ = consoles(WEB, status=ProxyStatus(serving=False))
    exported = desk.export_vv(WEB.key, ExportRequest())
    assert exported.tls_port == ProxySettings().tls_port
    assert exported.notes == (NO_PROXY,)


def test_a_proxy_that_is_being_stopped_is_said_of_its_files() -> None:
    desk, _ = consoles(WEB, status=ProxyStatus(serving=True, tls_port=5930, draining=True))
    assert desk.export_vv(WEB.key, ExportRequest()).notes == (DRAINING,)


def test_a_free_port_is_not_known_before_somebody_serves() -> None:
    desk, _ = consoles(WEB, settings=ProxySettings(tls_port=0), status=ProxyStatus(serving=False))
    with pytest.raises(UsageError, match="not known yet"):
        desk.export_vv(WEB.key, ExportRequest())


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"])
def test_a_file_for_elsewhere_never_names_a_loopback_host(listen: str) -> None:
    desk, shelf = consoles(WEB, settings=ProxySettings(listen=listen))
    with pytest.raises(UsageError, match="public_host"):
        desk.export_vv(WEB.key, ExportRequest(elsewhere=True))
    assert shelf.tokens == []


@pytest.mark.parametrize(
    ("settings", "asked", "named"),
    [
        (ProxySettings(listen="0.0.0.0", public_host="vm.example"), None, "vm.example"),
        (ProxySettings(), "vm.example", "vm.example"),
        (ProxySettings(listen="192.0.2.7"), None, "192.0.2.7"),
    ],
)
def test_a_file_for_elsewhere_names_the_host_that_was_set(
    settings: ProxySettings, asked: str | None, named: str
) -> None:
    desk, _ = consoles(WEB, settings=settings)
    assert desk.export_vv(WEB.key, ExportRequest(host=asked, elsewhere=True)).host == named


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), 1e9])
def test_a_life_that_is_not_allowed_mints_nothing(ttl: float) -> None:
    desk, shelf = consoles(WEB)
    with pytest.raises(UsageError, match="7d00h at most"):
        desk.export_vv(WEB.key, ExportRequest(ttl=ttl))
    assert shelf.tokens == []


def test_a_machine_without_a_screen_has_no_file() -> None:
    headless = machine("router", protocol=Spoken.NONE)
    desk, shelf = consoles(headless)
    with pytest.raises(NoConsole, match="no graphical console"):
        desk.export_vv(headless.key, ExportRequest())
    assert shelf.tokens == []


def test_a_direct_file_points_at_the_backend_with_its_ticket_and_says_so() -> None:
    target = TcpTarget("192.0.2.9", port=5900, tls_port=5901, host_subject="CN=qemu")
    desk, shelf = consoles(WEB, kept=Console(target, ticket="their-ticket"))
    exported = desk.export_vv(WEB.key, ExportRequest(direct=True))
    read = vv.parse(exported.text)
    assert (read.host, read.tls_port, read.port) == ("192.0.2.9", 5901, None)
    assert (read.password, read.host_subject) == ("their-ticket", "CN=qemu")
    assert exported.notes == (REAL_TICKET,)
    assert shelf.tokens == []


@pytest.mark.parametrize("proxy", ["http://gate.lab:3128", "gate.lab:3128"])
def test_a_direct_file_names_the_http_proxy_on_the_way(proxy: str) -> None:
    target = TcpTarget("192.0.2.9", port=5900, proxy=proxy)
    desk, _ = consoles(WEB, kept=Console(target, ticket="their-ticket"))
    exported = desk.export_vv(WEB.key, ExportRequest(direct=True))
    assert vv.parse(exported.text).proxy == "http://gate.lab:3128"


def test_a_direct_file_of_a_unix_socket_names_its_path() -> None:
    desk, _ = consoles(WEB, kept=Console(UnixTarget("/run/vm.sock")))
    exported = desk.export_vv(WEB.key, ExportRequest(direct=True))
    assert "unix-path=/run/vm.sock" in exported.text


def test_a_vm_that_listens_nowhere_has_no_direct_file() -> None:
    desk, _ = consoles(WEB, kept=Console(HandOverTarget("/run/ctl.sock")))
    with pytest.raises(NoConsole, match="listens on no port"):
        desk.export_vv(WEB.key, ExportRequest(direct=True))


def test_what_a_file_allows_is_kept_with_its_token_and_said_in_the_log() -> None:
    desk, shelf = consoles(WEB)
    asked = LinkPolicy(clipboard=False, usb=False, sources_from=("192.0.2.0/24",))
    exported = desk.export_vv(WEB.key, ExportRequest(policy=asked))
    assert shelf.tokens[0].policy == asked
    assert shelf.events[0].text.endswith(": no-usb, no-clipboard, from 192.0.2.0/24")
    assert not vv.parse(exported.text).usbredir


def test_looking_on_takes_away_everything_else_and_stands_in_the_title() -> None:
    desk, shelf = consoles(WEB)
    exported = desk.export_vv(WEB.key, ExportRequest(policy=LinkPolicy(view_only=True)))
    assert shelf.tokens[0].policy == LinkPolicy(
        view_only=True, usb=False, clipboard=False, file_transfer=False, audio_in=False
    )
    assert shelf.events[0].text.endswith(": view-only")
    assert vv.parse(exported.text).title == "web-01 (lab) - view only"


def test_a_direct_file_cannot_be_held_to_a_policy() -> None:
    desk, _ = consoles(WEB, kept=Console(TcpTarget("192.0.2.1", 5900)))
    request = ExportRequest(direct=True, policy=LinkPolicy(clipboard=False))
    with pytest.raises(UsageError, match="cannot be no-clipboard"):
        desk.export_vv(WEB.key, request)


def test_a_network_that_is_none_makes_no_token() -> None:
    desk, shelf = consoles(WEB)
    with pytest.raises(UsageError, match="not a network"):
        desk.export_vv(WEB.key, ExportRequest(policy=LinkPolicy(sources_from=("lab",))))
    assert shelf.tokens == []
