import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from broker import demo


def test_the_image_is_a_bootable_disk() -> None:
    image = demo.image_bytes()
    assert (len(image), image[510:512]) == (demo.IMAGE_BYTES, b"\x55\xaa")


def test_the_image_is_what_its_source_says(tmp_path: Path) -> None:
    nasm = shutil.which("nasm")
    if nasm is None:
        pytest.skip("nasm is not installed")
    with resources.as_file(resources.files(demo).joinpath("demo.asm")) as source:
        subprocess.run([nasm, "-f", "bin", "-o", tmp_path / "demo.img", source], check=True)
    assert (tmp_path / "demo.img").read_bytes() == demo.image_bytes()[:512]


def test_the_image_says_the_banner_that_the_code_promises() -> None:
    assert demo.BANNER in demo.image_bytes()


def test_every_line_ends_as_a_terminal_in_raw_mode_wants_it() -> None:
    assert demo.ANSWERS[0] in demo.image_bytes()  # the digit is put in as it runs
    assert all(line.endswith(b"\r\n") for line in (demo.BANNER, *demo.ANSWERS))


def test_writing_the_image_again_leaves_it_alone(tmp_path: Path) -> None:
    image = demo.write_image(tmp_path / "demo.img")
    before = image.stat()
    demo.write_image(image)
    assert (image.read_bytes(), image.stat()) == (demo.image_bytes(), before)


def test_a_damaged_image_is_written_anew(tmp_path: Path) -> None:
    image = tmp_path / "demo.img"
    image.write_bytes(b"half")
    assert demo.write_image(image).read_bytes() == demo.image_bytes()
