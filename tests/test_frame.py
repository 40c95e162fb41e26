"""The frame of artifacts: what goes in comes out, and nothing damaged comes in."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core import Frame
from deepseek_core.errors import PackageError

FRAME = Frame(b"ACME", 3, "Acme artifact", fix="build it again")
LISTING = {"name": "x", "sizes": [1, 2], "nothing": None}
SECTIONS = (b"first", b"", bytes(range(32)))

_JSON = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.booleans()))


def _content(listing, sections):
    return dict(listing), sections


@settings(max_examples=60, deadline=None)
@given(_JSON, st.lists(st.binary(max_size=40), max_size=4))
def test_what_is_packed_is_unpacked(listing, sections) -> None:
    listing.pop("sections", None)
    data = FRAME.pack(listing, sections)
    found, pieces = FRAME.unpack(data, _content)
    assert found.pop("sections") == list(map(len, sections))
    assert (found, pieces) == (listing, sections)
    assert FRAME.pack(found, pieces) == data


def test_equal_contents_have_equal_bytes_in_any_order() -> None:
    assert FRAME.pack(LISTING, SECTIONS) == FRAME.pack(dict(reversed(LISTING.items())), SECTIONS)


_WHOLE = {"a" * 12: 0}
"""A listing without padding behind it."""


@pytest.mark.parametrize("content", [(LISTING, SECTIONS), ({}, ()), (_WHOLE, ())], ids=["full", "empty", "whole"])
def test_every_changed_byte_is_noticed(content) -> None:
    data = FRAME.pack(*content)
    assert content[0] is not _WHOLE or data.endswith(b"}")
    for place in range(len(data)):
        for flip in (0x01, 0x80):
            damaged = bytearray(data)
            damaged[place] ^= flip
            with pytest.raises(PackageError) as caught:
                FRAME.unpack(bytes(damaged), _content)
            assert caught.value.fix == "build it again"


def test_every_cut_and_every_addition_is_noticed() -> None:
    data = FRAME.pack(LISTING, SECTIONS)
    for other in (*(data[:size] for size in range(len(data))), data + b"\0"):
        with pytest.raises(PackageError):
            FRAME.unpack(other, _content)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "this is no Acme artifact"),
        (FRAME.pack({})[:47], "this is no Acme artifact"),
        (Frame(b"ECHO", 3, "").pack({}), "this is no Acme artifact"),
        (Frame(b"ACME", 4, "").pack({}), "Acme artifact of format 4, this backend reads 3"),
        (FRAME.pack({})[:-1] + b" ", r"the Acme artifact is damaged \(checksum differs\)"),
    ],
)
def test_what_is_wrong_is_one_line(data, said) -> None:
    with pytest.raises(PackageError, match=said):
        FRAME.unpack(data, _content)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda listing, sections: listing["shape"], r"the Acme artifact is malformed \(it has no 'shape'\)"),
        (lambda listing, sections: sections[9], r"malformed \(list index out of range\)"),
        (lambda listing, sections: int(listing["name"]), "malformed .*invalid literal"),
        (lambda listing, sections: int(float("inf")), "malformed .*infinity"),
        (lambda listing, sections: listing["nothing"].items(), "malformed .*no attribute"),
        (lambda listing, sections: listing["nothing"][0], "malformed .*not subscriptable"),
    ],
)
def test_what_a_backend_cannot_read_is_malformed(read, said) -> None:
    with pytest.raises(PackageError, match=said):
        FRAME.unpack(FRAME.pack(LISTING, SECTIONS), read)


def test_a_bug_of_the_reader_keeps_its_traceback() -> None:
    def read(listing, sections):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        FRAME.unpack(FRAME.pack({}), read)


@pytest.mark.parametrize("sizes", [[6], [-1], [1, 1 << 62], [[]], None, ["1"]])
def test_forged_sizes_are_refused(sizes) -> None:
    """Whoever can hash can forge, and must not read what is not there."""
    with pytest.raises(PackageError, match="malformed"):
        FRAME.unpack(_forged(f'{{"sections":{json.dumps(sizes)}}}'), _content)


def test_a_listing_without_a_bottom_is_refused() -> None:
    with pytest.raises(PackageError, match=r"malformed .*recursion"):
        FRAME.unpack(_forged("[" * 200_000), _content)


def _forged(listing: str) -> bytes:
    text = listing.encode()
    body = text + bytes(-len(text) % 16) + b"12345"
    head = FRAME.pack({})[:8] + len(text).to_bytes(8, "little")
    return head + hashlib.sha256(head + body).digest() + body
