"""Whose fault it is when the protocol breaks.

ProtocolError
├── RemoteProtocolError   the peer sent what it may not; carries the reply for it
└── LocalProtocolError    we called out of order: a bug of ours
"""

from broker.spice.constants import LinkError


class ProtocolError(Exception):
    """The protocol was broken by somebody."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that this step of the protocol does not allow.

    Attributes:
        reply: What a server answers to it; meaningless when the peer is the server.
    """

    def __init__(self, message: str, reply: LinkError = LinkError.INVALID_DATA) -> None:
        super().__init__(message)
        self.reply = reply


class LocalProtocolError(ProtocolError):
    """A method was called when the protocol had no place for it."""
