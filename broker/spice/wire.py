"""Structures as they travel: little-endian, packed.

`decode` takes exactly the bytes of one structure; lengths were checked by whoever read them.
Capabilities are one integer per kind here (capability N is bit N), words on the wire.

Source: spice-protocol 0.14.3 `spice/protocol.h`; spice-common `spice.proto`.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from broker.spice.constants import (
    MAGIC,
    MAX_CAP_WORDS,
    MAX_CHANNELS_LISTED,
    PUBLIC_KEY_BYTES,
    VERSION_MAJOR,
    VERSION_MINOR,
    LinkError,
)
from broker.spice.errors import RemoteProtocolError

U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """Opens a link message and a link reply."""

    size: int
    """Bytes after this header."""
    magic: bytes = MAGIC
    major: int = VERSION_MAJOR
    minor: int = VERSION_MINOR

    SIZE: ClassVar = 16
    FORMAT: ClassVar = struct.Struct("<4sIII")

    def encode(self) -> bytes:
        """To 16 bytes."""
        return self.FORMAT.pack(self.magic, self.major, self.minor, self.size)


@lru_cache(256)
def encode_caps(bits: int) -> bytes:
    """Capabilities as words of 32 bits; none for an empty set."""
    return bits.to_bytes((bits.bit_length() + 31) // 32 * 4, "little")


def decode_caps(
    body: bytes, fixed: int, offset: int, common_words: int, channel_words: int
) -> tuple[int, int]:
    """Both sets of capabilities behind a link structure of `fixed` bytes.

    Raises:
        RemoteProtocolError: They do not lie inside `body`, or are more than anybody needs.
    """
    if common_words > MAX_CAP_WORDS or channel_words > MAX_CAP_WORDS:
        raise RemoteProtocolError(
            f"{common_words} and {channel_words} words of capabilities, expected at most "
            f"{MAX_CAP_WORDS}"
        )
    middle = offset + 4 * common_words
    end = middle + 4 * channel_words
    if offset < fixed or end > len(body):
        raise RemoteProtocolError(
            f"capabilities at bytes {offset} to {end} of a link body of {len(body)}"
        )
    return (
        int.from_bytes(body[offset:middle], "little"),
        int.from_bytes(body[middle:end], "little"),
    )


@dataclass(frozen=True, slots=True)
class LinkMess:
    """What a client wants: one channel of one session."""

    connection_id: int
    """0 on MAIN; elsewhere the session id from MAIN_INIT."""
    channel_type: int
    channel_id: int
    common_caps: int
    channel_caps: int

    SIZE: ClassVar = 18
    _FORMAT: ClassVar = struct.Struct("<IBBIII")
    _WHOLE: ClassVar = struct.Struct(LinkHeader.FORMAT.format + "IBBIII")

    @classmethod
    def decode(cls, body: bytes) -> "LinkMess":
        """From the body after the header, at least 18 bytes.

        Raises:
            RemoteProtocolError: The capabilities lie outside of it.
        """
        connection_id, channel_type, channel_id, common, channel, offset = cls._FORMAT.unpack_from(
            body
        )
        caps = decode_caps(body, cls.SIZE, offset, common, channel)
        return cls(connection_id, channel_type, channel_id, *caps)

    def encode(self) -> bytes:
        """Header, structure and capabilities: all a client sends first."""
        common, channel = encode_caps(self.common_caps), encode_caps(self.channel_caps)
        return (
            self._WHOLE.pack(
                MAGIC,
                VERSION_MAJOR,
                VERSION_MINOR,
                self.SIZE + len(common) + len(channel),
                self.connection_id,
                self.channel_type,
                self.channel_id,
                len(common) // 4,
                len(channel) // 4,
                self.SIZE,
            )
            + common
            + channel
        )


@dataclass(frozen=True, slots=True)
class LinkReply:
    """What a server answers to LinkMess."""

    error: int
    public_key: bytes = bytes(PUBLIC_KEY_BYTES)
    common_caps: int = 0
    channel_caps: int = 0

    SIZE: ClassVar = 178
    _FORMAT: ClassVar = struct.Struct(f"<I{PUBLIC_KEY_BYTES}sIII")

    @classmethod
    def decode(cls, body: bytes) -> "LinkReply":
        """From the body after the header, at least 178 bytes.

        An error reply has no capabilities, whatever its other fields say.

        Raises:
            RemoteProtocolError: The capabilities lie outside of it.
        """
        error, public_key, common, channel, offset = cls._FORMAT.unpack_from(body)
        if error != LinkError.OK:
            return cls(error)
        caps = decode_caps(body, cls.SIZE, offset, common, channel)
        return cls(error, public_key, *caps)

    def encode(self) -> bytes:
        """Header, structure and capabilities."""
        common, channel = encode_caps(self.common_caps), encode_caps(self.channel_caps)
        offset = self.SIZE if self.error == LinkError.OK else 0
        body = (
            self._FORMAT.pack(
                self.error, self.public_key, len(common) // 4, len(channel) // 4, offset
            )
            + common
            + channel
        )
        return LinkHeader(len(body)).encode() + body


@dataclass(frozen=True, slots=True)
class Header:
    """Opens every message after the link stage, in one of two lengths."""

    type: int
    size: int
    """Bytes of the body."""
    serial: int = 0
    """Counts from 1 per direction; the mini header leaves it out."""
    sub_list: int = 0
    """Offset in the body of a list of messages inside; spice-server never sends one."""

    MINI: ClassVar = struct.Struct("<HI")
    FULL: ClassVar = struct.Struct("<QHII")

    @classmethod
    def length(cls, *, mini: bool) -> int:
        """Bytes of a header: 6 or 18."""
        return cls.MINI.size if mini else cls.FULL.size

    @classmethod
    def decode(cls, data: bytes, *, mini: bool) -> "Header":
        """From exactly `length()` bytes."""
        if mini:
            return cls(*cls.MINI.unpack(data))
        serial, kind, size, sub_list = cls.FULL.unpack(data)
        return cls(kind, size, serial, sub_list)

    def encode(self, *, mini: bool) -> bytes:
        """To `length()` bytes."""
        if mini:
            return self.MINI.pack(self.type, self.size)
        return self.FULL.pack(self.serial, self.type, self.size, self.sub_list)


def message(kind: int, body: bytes = b"", *, mini: bool = True, serial: int = 1) -> bytes:
    """One whole message."""
    return Header(kind, len(body), serial).encode(mini=mini) + body


@dataclass(frozen=True, slots=True)
class MainInit:
    """Body of MAIN INIT, the first message on MAIN."""

    session_id: int
    display_channels: int = 1
    supported_mouse_modes: int = 3
    mouse_mode: int = 1
    """1 server (relative), 2 client (absolute)."""
    agent_connected: int = 0
    agent_tokens: int = 10
    multimedia_time: int = 0
    ram_hint: int = 0

    SIZE: ClassVar = 32
    _FORMAT: ClassVar = struct.Struct("<8I")

    @classmethod
    def decode(cls, body: bytes) -> "MainInit":
        """From 32 bytes."""
        return cls(*cls._FORMAT.unpack(body))

    def encode(self) -> bytes:
        """To 32 bytes."""
        return self._FORMAT.pack(
            self.session_id,
            self.display_channels,
            self.supported_mouse_modes,
            self.mouse_mode,
            self.agent_connected,
            self.agent_tokens,
            self.multimedia_time,
            self.ram_hint,
        )


def decode_channels(body: bytes) -> tuple[tuple[int, int], ...]:
    """Type and id of each channel in a CHANNELS_LIST, in the server's order.

    Raises:
        RemoteProtocolError: The count does not fit the body.
    """
    count = U32.unpack_from(body)[0] if len(body) >= U32.size else -1
    if not 0 <= count <= MAX_CHANNELS_LISTED or len(body) < U32.size + 2 * count:
        raise RemoteProtocolError(f"a list of {count} channels in {len(body)} bytes")
    pairs = body[U32.size : U32.size + 2 * count]
    return tuple(zip(pairs[::2], pairs[1::2], strict=True))


def encode_channels(channels: tuple[tuple[int, int], ...]) -> bytes:
    """Body of a CHANNELS_LIST."""
    return U32.pack(len(channels)) + bytes(number for pair in channels for number in pair)


@dataclass(frozen=True, slots=True)
class DisplayInit:
    """Body of the client's DISPLAY INIT. With zeros the server sends no cached images."""

    cache_pixels: int = 0
    glz_window_pixels: int = 0
    cache_id: int = 1
    glz_id: int = 1

    SIZE: ClassVar = 14
    _FORMAT: ClassVar = struct.Struct("<BqBi")

    @classmethod
    def decode(cls, body: bytes) -> "DisplayInit":
        """From 14 bytes."""
        cache_id, cache_pixels, glz_id, window = cls._FORMAT.unpack(body)
        return cls(cache_pixels, window, cache_id, glz_id)

    def encode(self) -> bytes:
        """To 14 bytes."""
        return self._FORMAT.pack(
            self.cache_id, self.cache_pixels, self.glz_id, self.glz_window_pixels
        )


@dataclass(frozen=True, slots=True)
class SurfaceCreate:
    """Body of DISPLAY SURFACE_CREATE."""

    surface_id: int
    width: int
    height: int
    format: int
    """32 is xRGB."""
    flags: int
    """Bit 0: the primary surface, the screen itself."""

    SIZE: ClassVar = 20
    _FORMAT: ClassVar = struct.Struct("<5I")

    @classmethod
    def decode(cls, body: bytes) -> "SurfaceCreate":
        """From 20 bytes."""
        return cls(*cls._FORMAT.unpack(body))

    def encode(self) -> bytes:
        """To 20 bytes."""
        return self._FORMAT.pack(self.surface_id, self.width, self.height, self.format, self.flags)


def scancode(code: int, *, extended: bool = False) -> int:
    """The `u32` of KEY_DOWN for a PC XT set-1 make code."""
    return 0xE0 | code << 8 if extended else code


def release_of(down: int) -> int:
    """The `u32` of KEY_UP that goes with a KEY_DOWN's: bit 7 of its last byte that is not zero."""
    return down | 0x80 << (8 * ((down.bit_length() + 7) // 8 - 1)) if down else 0
