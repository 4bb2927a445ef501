"""Every setting of broker.yaml, with its default, unit and reason. Data only.

A setting is written as `group.key`, stands in broker.yaml under its group, and can be overridden
for one process by `BROKER_GROUP_KEY` (`proxy.tls_port` by `BROKER_PROXY_TLS_PORT`). These are
plain dataclasses so that defaults cost no import; `load.py` has pydantic check what is given.
All durations are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal


class Bounds:
    """The smallest and largest value a number may have, both allowed.

    It is what annotated_types calls grouped metadata, told apart by one attribute: importing
    that package for the defaults' sake would cost every command 30 ms.
    """

    __is_annotated_types_grouped_metadata__: ClassVar[Literal[True]] = True

    def __init__(self, low: float, high: float, words: str = "") -> None:
        self.low = low
        self.high = high
        self.words = words or f"{low:g} to {high:g} are allowed"

    def __iter__(self) -> Iterator[object]:
        from annotated_types import Ge, Le

        return iter((Ge(self.low), Le(self.high)))


_PORTS = Bounds(0, 65535, "ports go from 1 to 65535, and 0 takes a free one")
_FORBID: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}
"""How pydantic reads these classes: an unknown key is a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """How viewers reach consoles."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    listen: str = "127.0.0.1"
    """Address the proxy listens on; `0.0.0.0` or `::` for viewers on other machines."""
    tls_port: Annotated[int, _PORTS] = 5920
    """Port viewers come in on, over TLS; 0 takes a free one."""
    public_host: str | None = None
    """Host name or address a .vv file names; none takes `listen`. The certificate names it."""
    certificate_names: tuple[str, ...] = ()
    """Further host names and addresses the certificate is good for."""
    workers: Annotated[
        int, Bounds(0, 64, "1 to 64 are allowed, and 0 takes two, or one on one CPU")
    ] = 0
    """Relay worker processes that share the port; more use more processors. 0 takes two, or one
    where there is one processor."""
    handshake_timeout: Annotated[float, Bounds(0.1, 300)] = 10.0
    """Seconds a viewer has from connecting to a finished SPICE link."""
    dial_timeout: Annotated[float, Bounds(0.1, 300)] = 5.0
    """Seconds a hypervisor has to accept a connection and link it."""
    half_open_max: Annotated[int, Bounds(1, 100_000)] = 512
    """Connections, of everybody, that may be in their handshake at once; each relay worker takes
    its share, at least 16."""
    half_open_per_address: Annotated[int, Bounds(1, 100_000)] = 32
    """Connections of one address in their handshake at once; a viewer opens up to ten at a time.
    Each relay worker takes its share, at least 16."""
    bad_tokens: Annotated[int, Bounds(0, 100_000)] = 10
    """Tokens of one address (IPv6: one /64) that may be no good before it has to wait; 0 never."""
    bad_token_wait: Annotated[float, Bounds(1, 86_400)] = 300.0
    """Seconds of the longest such wait; the first is 1, and each further bad token doubles it."""
    sessions_max: Annotated[int, Bounds(1, 100_000)] = 1000
    """Live sessions per relay worker."""
    channels_per_session: Annotated[int, Bounds(1, 1000)] = 64
    """Live channels one session may have; a usual one has eight to twelve."""
    drain_grace: Annotated[float, Bounds(0, 86_400)] = 30.0
    """Seconds that sessions go on after SIGTERM, with nobody new let in; a second one ends them."""
    sessions_per_label: Annotated[int, Bounds(1, 100_000)] = 100
    """Live sessions of everybody whose file was made for the same name (`--to`)."""
    turn_timeout: Annotated[float, Bounds(0.1, 3600)] = 60.0
    """Seconds a viewer waits for a console that somebody is at (`--wait-turn`, `--take-over`)."""
    firewall: Literal["enforce", "warn"] = "enforce"
    """What becomes of a message outside of the tables: `enforce` ends its channel; `warn` lets it
    by and writes it down, unless it could harm a machine or lead a viewer elsewhere."""
    metrics_port: Annotated[int, _PORTS] | None = None
    """Port on 127.0.0.1 that answers `/metrics` for Prometheus while a proxy serves; none answers
    nowhere, 0 takes a free one (`broker status` says which)."""
    token_ttl: Annotated[float, Bounds(1, 31_536_000)] = 120.0
    """Seconds a .vv file is good for opening a session; the session may outlast it."""
    token_ttl_max: Annotated[float, Bounds(1, 31_536_000)] = 604_800.0
    """Longest life in seconds that `--ttl` may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesSettings:
    """How sources are asked."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    refresh: Annotated[float, Bounds(1, 86_400)] = 30.0
    """Seconds between looks at a source that does not tell of changes by itself."""
    refresh_local: Annotated[float, Bounds(0.2, 86_400)] = 10.0
    """Seconds between looks at this host's own VMs. A net only: their changes are heard at once."""
    timeout: Annotated[float, Bounds(0.1, 600)] = 20.0
    """Seconds one source may take to list its machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerSettings:
    """What opens a console on this host."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    command: tuple[str, ...] | None = None
    """Program and arguments, the .vv file is appended; none takes the first viewer found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSettings:
    """Virtual machines of this host."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    qemu: str = "qemu-system-x86_64"
    """Name or path of the emulator."""
    stop_timeout: Annotated[float, Bounds(0, 3600)] = 30.0
    """Seconds a guest has to power off by itself before it is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where state is kept."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    url: str | None = None
    """SQLAlchemy URL of a shared database; none takes SQLite in the state directory."""
    keep_days: Annotated[float, Bounds(1, 3650)] = 90.0
    """Days that events, ended sessions and dead tokens are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important line that `proxy.log` gets; a command's own messages follow `-v`."""
    format: Literal["text", "json"] = "text"
    """How every process writes its log: lines for people, or one JSON object a line with the
    session and channel it is about. `--log-format` says otherwise for one command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuiSettings:
    """How the terminal interface looks."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    theme: Literal["dark", "light", "contrast", "ansi", "ansi-light"] = "dark"
    """Its colours; `ansi` and `ansi-light` are the sixteen of the terminal itself, on a dark and on
    a light background. NO_COLOR in the environment takes them all away."""
    glyphs: Literal["auto", "unicode", "ascii"] = "auto"
    """The marks beside words; `auto` takes ASCII where the locale draws others two cells wide."""
    columns: tuple[str, ...] | None = None
    """Titles of the columns of the list, in order; none shows all that there is room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, by group."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID

    proxy: ProxySettings = field(default_factory=ProxySettings)
    """How viewers reach consoles."""
    sources: SourcesSettings = field(default_factory=SourcesSettings)
    """How sources are asked."""
    viewer: ViewerSettings = field(default_factory=ViewerSettings)
    """What opens a console on this host."""
    vm: VmSettings = field(default_factory=VmSettings)
    """Virtual machines of this host."""
    store: StoreSettings = field(default_factory=StoreSettings)
    """Where state is kept."""
    log: LogSettings = field(default_factory=LogSettings)
    """What is logged."""
    tui: TuiSettings = field(default_factory=TuiSettings)
    """How the terminal interface looks."""
