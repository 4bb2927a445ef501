"""A viewer that wants the machine dead: every way that we know, and thousands that we do not.

`plays` are named attacks, `draw` makes new ones from a seed, `machines` boots what they attack,
`trial` plays them and looks whether QEMU still answers. `python -m tests.adversary` prints which of
the named attacks a machine survives: bare, behind a relay that looks at nothing, and behind us.
"""
