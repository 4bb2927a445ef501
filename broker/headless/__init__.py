"""A viewer without a window: SPICE sessions for scripts, measurements and checks.

`session` holds a session's channels open and its picture up to date; the protocol itself is
`broker.spice.client`. It reaches consoles by a .vv file, as a person's viewer does, or directly,
as the proxy does.
"""
