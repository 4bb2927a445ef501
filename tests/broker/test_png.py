import struct
import zlib

import pytest

from broker.png import SIGNATURE, encode_png


def test_a_picture_can_be_read_back() -> None:
    rgb = bytes(range(18))
    file = encode_png(rgb, 3, 2)
    assert file.startswith(SIGNATURE)
    assert struct.unpack(">II", file[16:24]) == (3, 2)
    start = file.index(b"IDAT") + 4
    (size,) = struct.unpack(">I", file[start - 8 : start - 4])
    lines = zlib.decompress(file[start : start + size])
    assert lines == b"\0" + rgb[:9] + b"\0" + rgb[9:]


@pytest.mark.parametrize(("width", "height"), [(3, 3), (0, 0)])
def test_a_picture_of_another_size_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="bytes for a picture"):
        encode_png(bytes(18) if width else b"", width, height)
