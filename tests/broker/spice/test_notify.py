from __future__ import annotations

import pytest

from broker.spice.errors import RemoteProtocolError
from broker.spice.notify import MOST_BYTES, OF_ITS_OWN_LEG, Notify, Severity, to_people


def test_a_line_is_what_spice_protocol_says() -> None:
    body = to_people("hé", 5)
    assert body == (b"\5\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0h\xc3\xa9\0")
    assert Notify.decode(body) == Notify(5, Severity.INFO, 2, 0, "hé")


def test_a_text_without_end_is_cut() -> None:
    assert len(Notify.decode(to_people("x" * 9999, 0)).text) == MOST_BYTES


@pytest.mark.parametrize("body", [b"", b"\0" * 23, b"\0" * 20 + b"\5\0\0\0" + b"abc"])
def test_one_that_is_shorter_than_it_says_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Notify.decode(body)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Notify(0, Severity.INFO, 2, 0, "Back at five"), True),
        (Notify(0, Severity.ERROR, 2, 0, "The host goes down"), True),
        (Notify(0, Severity.WARN, 2, 0, OF_ITS_OWN_LEG), False),
        (Notify(0, Severity.INFO, 1, 0, "agent reset"), False),
    ],
)
def test_what_is_not_for_people_is_told_apart(said: Notify, shown: bool) -> None:
    assert said.for_people is shown
