"""The SPICE protocol without I/O: bytes in, events out, bytes to send.

What belongs here: constants, structures, the ticket's cryptography, the two sides of the link
stage, the walk over message headers after it, and the tables that say which messages may pass.
What does not: sockets, clocks, logs, randomness of our own, and any other room of the broker.
Import the module you need; nothing is re-exported.

Source: spice-protocol 0.14.3 (`spice/protocol.h`, `spice/enums.h`), spice-common `spice.proto`.
"""
