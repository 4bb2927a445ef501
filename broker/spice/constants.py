"""Numbers of the protocol, and the limits we hold peers to.

The capabilities this project advertises are decided here and nowhere else.

Source: spice-protocol 0.14.3, `spice/protocol.h` and `spice/enums.h`.
"""

from enum import IntEnum
from typing import Final

MAGIC: Final = b"REDQ"
VERSION_MAJOR: Final = 2
VERSION_MINOR: Final = 2

PUBLIC_KEY_BYTES: Final = 162
"""DER SubjectPublicKeyInfo of an RSA key of 1024 bits, always this long."""
SEALED_TICKET_BYTES: Final = 128
"""RSA-1024 ciphertext."""
MAX_TICKET_CHARS: Final = 59
"""spice-server keeps 59 characters of a password and never matches a longer one."""

MAX_LINK_BYTES: Final = 4096
"""Largest body of a link message or reply, as spice-server has it."""
MAX_CAP_WORDS: Final = 32
"""Words of capabilities per kind; every known peer sends at most one."""

MAX_SERVER_BODY: Final = 256 * 1024 * 1024
"""A raw 8K picture has 133 MB; nothing honest is larger than this."""
MAX_CLIENT_BODY: Final = 64 * 1024
"""For client messages without a tighter limit of their own."""
MAX_CHANNELS_LISTED: Final = 256
"""Entries of one CHANNELS_LIST that we are ready to rewrite; QEMU sends about ten."""
GLZ_WINDOW_MAX: Final = 32 * 1024 * 1024
"""Pixels. spice-server aborts on huge values; spice-gtk asks for 6 290 432."""


class ChannelType(IntEnum):
    """Kinds of channel."""

    MAIN = 1
    DISPLAY = 2
    INPUTS = 3
    CURSOR = 4
    PLAYBACK = 5
    RECORD = 6
    TUNNEL = 7
    SMARTCARD = 8
    USBREDIR = 9
    PORT = 10
    WEBDAV = 11


class LinkError(IntEnum):
    """Answers of the link stage, in a reply or as its result."""

    OK = 0
    ERROR = 1
    INVALID_MAGIC = 2
    INVALID_DATA = 3
    VERSION_MISMATCH = 4
    NEED_SECURED = 5
    NEED_UNSECURED = 6
    PERMISSION_DENIED = 7
    BAD_CONNECTION_ID = 8
    CHANNEL_NOT_AVAILABLE = 9


class CommonCap(IntEnum):
    """Capabilities that every channel may have."""

    AUTH_SELECTION = 0
    AUTH_SPICE = 1
    AUTH_SASL = 2
    MINI_HEADER = 3


class MainCap(IntEnum):
    """Capabilities of MAIN."""

    SEMI_SEAMLESS_MIGRATE = 0
    NAME_AND_UUID = 1
    AGENT_CONNECTED_TOKENS = 2
    SEAMLESS_MIGRATE = 3


class DisplayCap(IntEnum):
    """Capabilities of DISPLAY that we have to know by name."""

    MONITORS_CONFIG = 1
    PREF_COMPRESSION = 6
    GL_SCANOUT = 7


class VmcCap(IntEnum):
    """Capabilities of USBREDIR, PORT and WEBDAV."""

    COMPRESS_LZ4 = 0


class Mechanism(IntEnum):
    """Ways to authenticate; the values are capability numbers."""

    SPICE = 1
    SASL = 2


class Base(IntEnum):
    """Messages of every channel, server to client."""

    MIGRATE = 1
    MIGRATE_DATA = 2
    SET_ACK = 3
    PING = 4
    WAIT_FOR_CHANNELS = 5
    DISCONNECTING = 6
    NOTIFY = 7
    LIST = 8


class ClientBase(IntEnum):
    """Messages of every channel, client to server."""

    ACK_SYNC = 1
    ACK = 2
    PONG = 3
    MIGRATE_FLUSH_MARK = 4
    MIGRATE_DATA = 5
    DISCONNECTING = 6


class Main(IntEnum):
    """MAIN, server to client."""

    MIGRATE_BEGIN = 101
    MIGRATE_CANCEL = 102
    INIT = 103
    CHANNELS_LIST = 104
    MOUSE_MODE = 105
    MULTI_MEDIA_TIME = 106
    AGENT_CONNECTED = 107
    AGENT_DISCONNECTED = 108
    AGENT_DATA = 109
    AGENT_TOKEN = 110
    MIGRATE_SWITCH_HOST = 111
    MIGRATE_END = 112
    NAME = 113
    UUID = 114
    AGENT_CONNECTED_TOKENS = 115
    MIGRATE_BEGIN_SEAMLESS = 116
    MIGRATE_DST_SEAMLESS_ACK = 117
    MIGRATE_DST_SEAMLESS_NACK = 118


class ClientMain(IntEnum):
    """MAIN, client to server."""

    CLIENT_INFO = 101
    MIGRATE_CONNECTED = 102
    MIGRATE_CONNECT_ERROR = 103
    ATTACH_CHANNELS = 104
    MOUSE_MODE_REQUEST = 105
    AGENT_START = 106
    AGENT_DATA = 107
    AGENT_TOKEN = 108
    MIGRATE_END = 109
    MIGRATE_DST_DO_SEAMLESS = 110
    MIGRATE_CONNECTED_SEAMLESS = 111
    QUALITY_INDICATOR = 112


class Display(IntEnum):
    """DISPLAY, server to client; the ones we have to know by name."""

    MODE = 101
    MARK = 102
    RESET = 103
    COPY_BITS = 104
    INVAL_LIST = 105
    INVAL_ALL_PIXMAPS = 106
    INVAL_PALETTE = 107
    INVAL_ALL_PALETTES = 108
    STREAM_CREATE = 122
    STREAM_DATA = 123
    STREAM_CLIP = 124
    STREAM_DESTROY = 125
    STREAM_DESTROY_ALL = 126
    DRAW_FILL = 302
    DRAW_OPAQUE = 303
    DRAW_COPY = 304
    DRAW_BLEND = 305
    DRAW_BLACKNESS = 306
    DRAW_WHITENESS = 307
    DRAW_INVERS = 308
    DRAW_ROP3 = 309
    DRAW_STROKE = 310
    DRAW_TEXT = 311
    DRAW_TRANSPARENT = 312
    DRAW_ALPHA_BLEND = 313
    SURFACE_CREATE = 314
    SURFACE_DESTROY = 315
    STREAM_DATA_SIZED = 316
    MONITORS_CONFIG = 317
    DRAW_COMPOSITE = 318
    STREAM_ACTIVATE_REPORT = 319
    GL_SCANOUT_UNIX = 320
    GL_DRAW = 321
    QUALITY_INDICATOR = 322


class ClientDisplay(IntEnum):
    """DISPLAY, client to server."""

    INIT = 101
    STREAM_REPORT = 102
    PREFERRED_COMPRESSION = 103
    GL_DRAW_DONE = 104
    PREFERRED_VIDEO_CODEC_TYPE = 105


class Inputs(IntEnum):
    """INPUTS, server to client."""

    INIT = 101
    KEY_MODIFIERS = 102
    MOUSE_MOTION_ACK = 111


class ClientInputs(IntEnum):
    """INPUTS, client to server."""

    KEY_DOWN = 101
    KEY_UP = 102
    KEY_MODIFIERS = 103
    KEY_SCANCODE = 104
    MOUSE_MOTION = 111
    MOUSE_POSITION = 112
    MOUSE_PRESS = 113
    MOUSE_RELEASE = 114


class ClientRecord(IntEnum):
    """RECORD, client to server."""

    DATA = 101
    MODE = 102
    START_MARK = 103


class Vmc(IntEnum):
    """USBREDIR, PORT and WEBDAV; data goes both ways under the same numbers."""

    DATA = 101
    COMPRESSED_DATA = 102
    PORT_INIT = 201
    PORT_EVENT = 202
    CLIENT_PORT_EVENT = 201


class Compression(IntEnum):
    """Values of PREFERRED_COMPRESSION."""

    OFF = 1
    AUTO_GLZ = 2
    AUTO_LZ = 3
    QUIC = 4
    GLZ = 5
    LZ = 6
    LZ4 = 7


def caps_of(*bits: int) -> int:
    """A set of capabilities as one integer: capability N is bit N."""
    return sum(1 << bit for bit in set(bits))


COMMON_CAPS: Final = caps_of(CommonCap.AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER)
"""What we offer and ask for on every channel."""
AUTH_CAPS: Final = caps_of(CommonCap.AUTH_SELECTION, CommonCap.AUTH_SPICE)
"""The part of it that concerns authentication."""
MAIN_CAPS: Final = caps_of(MainCap.NAME_AND_UUID, MainCap.AGENT_CONNECTED_TOKENS)
"""MAIN answers before the machine is known; spice-server 0.15 has both of these. Neither kind of
migration is among them: it would lead the viewer round the broker."""
CLEARED_CAPS: Final = {
    ChannelType.DISPLAY: caps_of(DisplayCap.GL_SCANOUT),
    ChannelType.USBREDIR: caps_of(VmcCap.COMPRESS_LZ4),
}
"""Cleared both ways on a channel: file descriptors do not pass a relay, and what a USB device says
has to be read."""
