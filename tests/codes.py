"""QR codes for tests."""

from __future__ import annotations

import zxingcpp


def modules(payload: bytes) -> list[list[bool]]:
    """Its rows, the quiet zone included; True is dark."""
    code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode, ec_level="L")
    image = zxingcpp.write_barcode_to_image(code, scale=1, add_quiet_zones=True)
    rows, columns = image.shape
    light = bytes(memoryview(image).cast("B"))  # type: ignore[arg-type]  # it is a buffer
    return [[not each for each in light[row * columns :][:columns]] for row in range(rows)]
