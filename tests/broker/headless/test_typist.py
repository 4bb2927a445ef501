import pytest

from broker.errors import UsageError
from broker.headless.typist import keys_for

SHIFT = 0x2A


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("a", [[0x1E]]),
        ("A", [[SHIFT, 0x1E]]),
        ("1!", [[0x02], [SHIFT, 0x02]]),
        ("`~", [[0x29], [SHIFT, 0x29]]),
        ("=\\|/?", [[0x0D], [0x2B], [SHIFT, 0x2B], [0x35], [SHIFT, 0x35]]),
        ("p[]", [[0x19], [0x1A], [0x1B]]),
        ("l;'", [[0x26], [0x27], [0x28]]),
        (" \n\t", [[0x39], [0x1C], [0x0F]]),
    ],
)
def test_each_character_is_where_a_us_keyboard_has_it(text: str, codes: list[list[int]]) -> None:
    assert keys_for(text) == codes


def test_a_character_that_keyboard_lacks() -> None:
    with pytest.raises(UsageError):
        keys_for("ß")


def test_everything_printable_can_be_typed() -> None:
    assert len(keys_for("".join(map(chr, range(32, 127))))) == 95
