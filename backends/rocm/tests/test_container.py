"""The artifact's format: what is written is read, and nothing that was changed is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_backend_rocm.container import FRAME, decode, encode
from deepseek_backend_rocm.program import Image, Kernel, Launch, Pointer, Port, Program
from deepseek_core.errors import PackageError


def _image(**changed: object) -> Image:
    pointer = Pointer(0, "constants", 16, 8, False)
    launch = Launch(0, (2, 1, 1), bytes(24), (pointer, Pointer(8, "arena", 0, 16, True)), "unit")
    program = Program(256, (Kernel("k", "k", 0, 64, 1024, 24),), (launch,))
    ports = (Port("x", "int8", (2, 3), 0),), (Port("y", "float32", (4,), 16),)
    return Image(*ports, {"gfx942": program, "gfx1100": program}, bytes(range(32)), (b"code", b"other"), **changed)


def test_what_is_encoded_is_decoded() -> None:
    image = _image(report={"launches": 1})
    data = encode(image)
    again = decode(data)
    assert again == image
    assert again.report == {"launches": 1}
    assert encode(again) == data


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_changed_byte_is_noticed(data) -> None:
    whole = encode(_image())
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    with pytest.raises(PackageError):
        decode(flipped)


@pytest.mark.parametrize("size", [0, 3, 47, 48, 100])
def test_a_truncated_artifact_is_refused(size) -> None:
    with pytest.raises(PackageError):
        decode(encode(_image())[:size])


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("programs", "gfx942", "launches", 0, "grid"), [0, 1, 1], "grid"),
        (("programs", "gfx942", "launches", 0, "kernel"), 3, "kernel"),
        (("programs", "gfx942", "launches", 0, "pointers", 0, "bytes"), 99, "outside of its constants"),
        (("programs", "gfx942", "launches", 0, "pointers", 0, "position"), 20, "outside"),
        (("programs", "gfx942", "launches", 0, "arguments"), "00", "arguments"),
        (("programs", "gfx942", "kernels", 0, "code"), 7, "code"),
        (("programs", "gfx942", "arena"), 8, "arena"),
        (("inputs", 0, "dtype"), "complex64", "complex64"),
        (("programs",), None, "malformed"),
    ],
)
def test_a_listing_that_contradicts_itself_is_refused(where, value, said) -> None:
    listing, sections = FRAME.unpack(encode(_image()), lambda *content: content)
    piece = listing
    for key in where[:-1]:
        piece = piece[key]
    piece[where[-1]] = value
    with pytest.raises(PackageError, match=said):
        decode(FRAME.pack(listing, sections))
