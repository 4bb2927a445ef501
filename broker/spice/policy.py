"""Which messages may pass, by channel and direction, and how large they may be.

Each table says what a relay forwards; whatever is missing ends the channel. The tables protect
the virtual machine: several inputs kill spice-server 0.15, and none of them is in here. What a
link's policy takes away (typing, USB, ...) is taken from these tables. It is one file because
both directions of a channel are read side by side, and what may pass is decided in one place.

Source: spice-common `spice.proto`; trials on spice-server 0.15.1.
"""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from broker.spice.agent import AgentFilter
from broker.spice.constants import (
    GLZ_WINDOW_MAX,
    MAX_CLIENT_BODY,
    MAX_SERVER_BODY,
    Base,
    ChannelType,
    ClientBase,
    ClientDisplay,
    ClientInputs,
    ClientMain,
    ClientRecord,
    Compression,
    Display,
    Inputs,
    Main,
    Vmc,
)
from broker.spice.wire import (
    U32,
    DisplayInit,
    Header,
    MainInit,
    decode_channels,
    encode_channels,
)

MIB: Final = 1024 * 1024
VMC_BODY_MAX: Final = 16 * MIB
"""USB redirection sends up to 1 MiB; sizes of 2 GiB and above overrun spice-server's heap."""
PORT_BODY_MAX: Final = MIB
WEBDAV_BODY_MAX: Final = 128 * 1024
AGENT_BODY_MAX: Final = 2048
AGENT_TOKENS_UNLIMITED: Final = 0xFFFFFFFF
"""What spice-gtk grants in its AGENT_START."""
RECORD_BODY_MAX: Final = 32 * 1024
NOTHING: Final = -1
"""A ceiling that nothing gets under."""


@dataclass(frozen=True, slots=True)
class Check:
    """Looks at the start of a body before any of the message is let through."""

    need: int
    """Bytes of the body to have in hand; a shorter body is looked at whole."""
    accepts: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Rules:
    """What may pass in one direction of one channel."""

    largest: Mapping[int, int]
    """Allowed types, and the largest body of each."""
    smallest: Mapping[int, int] = field(default_factory=dict)
    """For types whose body has a least size."""
    checks: Mapping[int, Check] = field(default_factory=dict)
    swallow: frozenset[int] = frozenset()
    """Allowed types that end here without a word; for client messages only, never on
    display or cursor towards the client, where every message counts for the ACK window."""
    withheld: frozenset[int] = frozenset()
    """Those of `swallow` that a link's policy takes away: they are counted and told."""
    rewrites: Mapping[int, Callable[[bytes], bytes | None]] = field(default_factory=dict)
    """Types whose whole body is replaced, or with None dropped; each needs a small `largest`."""
    never: frozenset[int] = frozenset()
    """Types that do not pass even where the firewall only warns: they end machines, or lead the
    viewer round the broker."""
    ceiling: int = 0
    """The largest body that a firewall which only warns lets by."""
    slow: frozenset[int] = field(init=False, repr=False, compare=False)
    """Types that need more than a look at the header."""
    _views: dict[tuple[int, ...], Mapping[int, int]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        slow = frozenset(self.checks) | frozenset(self.rewrites) | self.swallow
        object.__setattr__(self, "slow", slow)

    def largest_without(self, kinds: Iterable[int]) -> Mapping[int, int]:
        """`largest` without these types; the same one each time, for thousands of channels."""
        key = tuple(kinds)
        if (view := self._views.get(key)) is None:
            view = {kind: size for kind, size in self.largest.items() if kind not in key}
            self._views[key] = view
        return view


CLIENT_BASE: Final[Mapping[int, int]] = {
    ClientBase.ACK_SYNC: 4,
    ClientBase.ACK: 0,
    ClientBase.PONG: 12,
    ClientBase.DISCONNECTING: 12,
}
"""Exact sizes. 4 and 5 belong to migration; the first aborts a server that does not migrate."""


def _rules(
    exact: Mapping[int, int],
    upto: Mapping[int, int] | None = None,
    checks: Mapping[int, Check] | None = None,
) -> Rules:
    """Rules of a client: the base messages, some of one exact size, some up to a size."""
    fixed = {**CLIENT_BASE, **exact}
    return Rules(
        {**fixed, **(upto or {})},
        {kind: size for kind, size in fixed.items() if size},
        checks or {},
        never=frozenset({ClientBase.MIGRATE_FLUSH_MARK, ClientBase.MIGRATE_DATA}),
        ceiling=MAX_CLIENT_BODY,
    )


def _never(rules: Rules, *kinds: int) -> Rules:
    """The same, with types that pass in no mode."""
    return replace(rules, never=rules.never | set(kinds))


_COMPRESSED = struct.Struct("<BI")


def _is_lz4_within(limit: int) -> Callable[[bytes], bool]:
    def accepts(start: bytes) -> bool:
        if len(start) < _COMPRESSED.size:
            return False
        kind, raw_size = _COMPRESSED.unpack_from(start)
        return bool(kind == 1 and raw_size <= limit)

    return accepts


def _port(limit: int) -> Rules:
    return _rules(
        {Vmc.CLIENT_PORT_EVENT: 1},
        {Vmc.DATA: limit, Vmc.COMPRESSED_DATA: limit},
        checks={Vmc.COMPRESSED_DATA: Check(_COMPRESSED.size, _is_lz4_within(limit))},
    )


FROM_CLIENT: Final[Mapping[ChannelType, Rules]] = {
    ChannelType.MAIN: replace(
        _rules(
            {
                ClientMain.ATTACH_CHANNELS: 0,
                ClientMain.MOUSE_MODE_REQUEST: 2,
                ClientMain.AGENT_START: 4,
                ClientMain.AGENT_TOKEN: 4,
            },
            {ClientMain.AGENT_DATA: AGENT_BODY_MAX},
            # Whole or not at all: half a message, and then another client, abort the server.
            {ClientMain.AGENT_DATA: Check(AGENT_BODY_MAX, bool)},
        ),
        # A token for an agent that the server holds for not started aborts it, and when an agent
        # comes and goes no client can know. So the server is granted all it wants at the start.
        swallow=frozenset({ClientMain.AGENT_TOKEN}),
        rewrites={ClientMain.AGENT_START: lambda _: U32.pack(AGENT_TOKENS_UNLIMITED)},
        # What the server drops MAIN for freezes it when a display waits just then: no exceptions.
        ceiling=NOTHING,
    ),
    # INIT is not in the table: the one INIT of a link is handled before the relay begins, and a
    # second one aborts the server.
    ChannelType.DISPLAY: _never(
        _rules(
            {ClientDisplay.STREAM_REPORT: 32, ClientDisplay.PREFERRED_COMPRESSION: 1},
            {ClientDisplay.PREFERRED_VIDEO_CODEC_TYPE: 16},
            checks={
                ClientDisplay.PREFERRED_COMPRESSION: Check(
                    1, lambda body: Compression.OFF <= body[0] <= Compression.LZ4
                )
            },
        ),
        ClientDisplay.INIT,
        ClientDisplay.GL_DRAW_DONE,
    ),
    ChannelType.INPUTS: _rules(
        {
            ClientInputs.KEY_DOWN: 4,
            ClientInputs.KEY_UP: 4,
            ClientInputs.KEY_MODIFIERS: 2,
            ClientInputs.MOUSE_MOTION: 10,
            ClientInputs.MOUSE_POSITION: 11,
            ClientInputs.MOUSE_PRESS: 3,
            ClientInputs.MOUSE_RELEASE: 3,
        },
        {ClientInputs.KEY_SCANCODE: 64},
    ),
    ChannelType.CURSOR: _rules({}),
    ChannelType.PLAYBACK: _rules({}),
    ChannelType.RECORD: _rules(
        {ClientRecord.START_MARK: 4},
        {ClientRecord.DATA: RECORD_BODY_MAX, ClientRecord.MODE: RECORD_BODY_MAX},
    ),
    # What is in these is judged too (`usb_inspector`), so it may not be compressed.
    ChannelType.USBREDIR: _never(_rules({}, {Vmc.DATA: VMC_BODY_MAX}), Vmc.COMPRESSED_DATA),
    ChannelType.PORT: _port(PORT_BODY_MAX),
    ChannelType.WEBDAV: _port(WEBDAV_BODY_MAX),
}
"""Client to server. SMARTCARD and TUNNEL are missing: nobody may open them."""

HIDDEN: Final = frozenset({ChannelType.SMARTCARD, ChannelType.TUNNEL})
"""Never relayed, so taken out of CHANNELS_LIST."""

INPUT_MESSAGES: Final = frozenset(
    {
        ClientInputs.KEY_DOWN,
        ClientInputs.KEY_UP,
        ClientInputs.KEY_MODIFIERS,
        ClientInputs.KEY_SCANCODE,
        ClientInputs.MOUSE_MOTION,
        ClientInputs.MOUSE_POSITION,
        ClientInputs.MOUSE_PRESS,
        ClientInputs.MOUSE_RELEASE,
    }
)
"""What a link that only looks on may not send; swallowed, so that its viewer stays content."""

_SERVER_BASE = (
    Base.SET_ACK,
    Base.PING,
    Base.WAIT_FOR_CHANNELS,
    Base.DISCONNECTING,
    Base.NOTIFY,
)
"""Without LIST, which holds further messages that nobody looks at; spice-server sends none."""
_SERVER_NEVER = frozenset({Base.MIGRATE, Base.MIGRATE_DATA, Base.LIST})


def _server(*kinds: int, limits: Mapping[int, int] | None = None) -> Rules:
    largest = dict.fromkeys((*_SERVER_BASE, *kinds), MAX_SERVER_BODY)
    return Rules({**largest, **(limits or {})}, never=_SERVER_NEVER, ceiling=MAX_SERVER_BODY)


_VMC_SERVER: Final = (Vmc.DATA, Vmc.COMPRESSED_DATA)
FROM_SERVER: Final[Mapping[ChannelType, Rules]] = {
    ChannelType.MAIN: _never(
        _server(
            *range(Main.MOUSE_MODE, Main.AGENT_TOKEN + 1),
            Main.NAME,
            Main.UUID,
            Main.AGENT_CONNECTED_TOKENS,
            limits={Main.INIT: 32, Main.CHANNELS_LIST: 1024},
        ),
        Main.MIGRATE_BEGIN,
        Main.MIGRATE_CANCEL,
        Main.MIGRATE_SWITCH_HOST,
        Main.MIGRATE_END,
        Main.MIGRATE_BEGIN_SEAMLESS,
        Main.MIGRATE_DST_SEAMLESS_ACK,
        Main.MIGRATE_DST_SEAMLESS_NACK,
    ),
    ChannelType.DISPLAY: _never(
        _server(
            *range(101, 109),
            *range(122, 127),
            *range(302, 320),
            322,
        ),
        Display.GL_SCANOUT_UNIX,
        Display.GL_DRAW,
    ),
    ChannelType.INPUTS: _server(Inputs.INIT, Inputs.KEY_MODIFIERS, Inputs.MOUSE_MOTION_ACK),
    ChannelType.CURSOR: _server(*range(101, 109)),
    ChannelType.PLAYBACK: _server(*range(101, 108)),
    ChannelType.RECORD: _server(*range(101, 105)),
    ChannelType.USBREDIR: _never(_server(Vmc.DATA), Vmc.COMPRESSED_DATA),
    ChannelType.PORT: _server(*_VMC_SERVER, Vmc.PORT_INIT, Vmc.PORT_EVENT),
    ChannelType.WEBDAV: _server(*_VMC_SERVER, Vmc.PORT_INIT, Vmc.PORT_EVENT),
}
"""Server to client. Migration messages would lead the viewer round the broker, and 320 and 321 of
DISPLAY carry file descriptors: none of them is in the tables."""


def is_safe_display_init(body: bytes) -> bool:
    """Whether spice-server survives this DISPLAY INIT."""
    if len(body) != DisplayInit.SIZE:
        return False
    init = DisplayInit.decode(body)
    return init.cache_pixels >= 0 and 0 <= init.glz_window_pixels <= GLZ_WINDOW_MAX


def opening_bytes(early: bytes, *, mini: bool) -> int:
    """How much of what follows a DISPLAY INIT may travel with it.

    That is PREFERRED_COMPRESSION, which the server always takes. For others it may drop the
    channel, and while it waits for INIT that kills it.

    Args:
        early: Messages that the rules let through.
    """
    length = Header.length(mini=mini)
    if len(early) <= length:
        return 0
    header = Header.decode(early[:length], mini=mini)
    return length + 1 if header.type == ClientDisplay.PREFERRED_COMPRESSION else 0


def looking_on(rules: Rules) -> Rules:
    """The rules of INPUTS for a link that may see and not touch."""
    return replace(
        rules, swallow=rules.swallow | INPUT_MESSAGES, withheld=rules.withheld | INPUT_MESSAGES
    )


_AGENT_COMES_OR_GOES: Final = (
    Main.AGENT_CONNECTED,
    Main.AGENT_CONNECTED_TOKENS,
    Main.AGENT_DISCONNECTED,
)


def main_from_client(agent: AgentFilter | None, say: Callable[[], None]) -> Rules:
    """The rules of MAIN towards the server.

    Args:
        agent: What the viewer and the guest's agent may talk about; None for everything.
        say: Called when the filter may have something in `for_client`.
    """
    rules = FROM_CLIENT[ChannelType.MAIN]
    if agent is None:
        return rules

    def start(_: bytes) -> bytes:
        agent.client_start()
        return U32.pack(AGENT_TOKENS_UNLIMITED)

    def data(body: bytes) -> bytes | None:
        passed = agent.client_data(body)
        say()
        return passed

    return replace(
        rules,
        rewrites={
            **rules.rewrites,
            ClientMain.AGENT_START: start,
            ClientMain.AGENT_DATA: data,
        },
    )


def choosing_no_mouse(rules: Rules) -> Rules:
    """The rules of MAIN for a link that may see and not touch: how the pointer works stays."""
    mode = frozenset({ClientMain.MOUSE_MODE_REQUEST})
    return replace(rules, swallow=rules.swallow | mode, withheld=rules.withheld | mode)


def main_from_server(
    connection_id: int,
    hidden: Collection[int],
    learn: Callable[[int], None],
    agent: AgentFilter | None = None,
    say: Callable[[], None] = lambda: None,
) -> Rules:
    """The rules of MAIN towards the client.

    Args:
        connection_id: The session id that the client gets instead of the server's.
        hidden: Channel types taken out of CHANNELS_LIST.
        learn: Told the server's own session id when MAIN INIT passes.
        agent: What the viewer and the guest's agent may talk about; None for everything.
        say: Called when the filter may have something in `for_client`.
    """
    rules = FROM_SERVER[ChannelType.MAIN]

    def rewrite_init(body: bytes) -> bytes:
        init = MainInit.decode(body)
        learn(init.session_id)
        return replace(init, session_id=connection_id).encode()

    def rewrite_channels(body: bytes) -> bytes:
        listed = decode_channels(body)
        return encode_channels(tuple(pair for pair in listed if pair[0] not in hidden))

    rewrites: dict[int, Callable[[bytes], bytes | None]] = {
        Main.INIT: rewrite_init,
        Main.CHANNELS_LIST: rewrite_channels,
    }
    largest = dict(rules.largest)
    if agent is not None:

        def data(body: bytes) -> bytes | None:
            passed = agent.server_data(body)
            say()
            return passed

        def turn(body: bytes) -> bytes:
            agent.server_turn()
            return body

        rewrites[Main.AGENT_DATA] = data
        largest[Main.AGENT_DATA] = AGENT_BODY_MAX
        for kind in _AGENT_COMES_OR_GOES:
            rewrites[kind] = turn
            largest[kind] = U32.size
    return replace(
        rules,
        largest=largest,
        smallest={Main.INIT: MainInit.SIZE},
        rewrites=rewrites,
    )
