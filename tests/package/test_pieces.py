"""Payloads in pieces: what comes together again, and what is found."""

import random

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core.package.pieces import EXPANSION, Finder, Piece, join, literals, problem
from deepseek_core.package.weights import THRESHOLD, Constant, chunks


def constants(*contents):
    """Constants of these bytes, each at a multiple of 64."""
    found, end = [], 0
    for content in contents:
        found.append(Constant(end + -end % 64, ir.tensor(np.frombuffer(content, np.uint8))))
        end = found[-1].offset + len(content)
    return found


def rejoined(payload, pieces, stored):
    own, weights = b"".join(literals(payload, pieces)), b"".join(chunks(stored))
    assert problem(pieces, len(own), len(weights)) is None
    return join(pieces, memoryview(own), memoryview(weights))


def references(pieces):
    return [piece for piece in pieces if piece.offset is not None]


SIZES = st.integers(THRESHOLD, 3 * THRESHOLD)


@given(st.data(), st.integers(), st.lists(SIZES, min_size=1, max_size=5))
def test_every_constant_is_found_wherever_it_lies(data, seed, sizes):
    rng = random.Random(seed)
    contents = [rng.randbytes(size) for size in sizes]
    order = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=8))
    gaps = data.draw(st.lists(st.integers(0, 700), min_size=len(order), max_size=len(order)))
    payload = b"".join(rng.randbytes(gap) + contents[number] for gap, number in zip(gaps, order, strict=True))
    stored = constants(*contents)
    pieces = Finder(stored).cut(payload)
    assert [piece.offset for piece in references(pieces)] == [stored[number].offset for number in order]
    assert sum(piece.length for piece in pieces if piece.offset is None) == sum(gaps)
    assert rejoined(payload, pieces, stored) == payload


@given(
    st.binary(min_size=1, max_size=64), SIZES, st.integers(0, 500), st.integers(0, 500), st.sampled_from([b"", b"q"])
)
def test_constant_of_one_repeated_value(value, size, before, after, border):
    content = (value * size)[:size]
    noise = random.Random(0).randbytes(1000)
    payload = noise[:before] + border + content + border + noise[500 : 500 + after]
    stored = constants(content)
    pieces = Finder(stored).cut(payload)
    assert len(references(pieces)) == 1
    assert rejoined(payload, pieces, stored) == payload


@given(st.lists(st.tuples(st.sampled_from(b"\0\1\2"), st.integers(1, 6000)), max_size=12), st.lists(SIZES, max_size=3))
def test_anything_comes_together_again(runs, sizes):
    """Payloads and constants of few values, in which everything nearly fits everywhere."""
    stored = constants(*(bytes([number % 2]) * size for number, size in enumerate(sizes)))
    payload = b"".join(bytes([value]) * length for value, length in runs)
    pieces = Finder(stored).cut(payload)
    assert pieces == Finder(stored).cut(payload)
    assert rejoined(payload, pieces, stored) == payload


@pytest.mark.parametrize("position", [0, THRESHOLD // 2 + 10, THRESHOLD - 1])
def test_rewritten_constant_stays_literal(position):
    content = random.Random(1).randbytes(THRESHOLD)
    changed = bytearray(content)
    changed[position] ^= 1
    payload = bytes(changed) + content
    assert Finder(constants(content)).cut(payload) == (Piece(THRESHOLD), Piece(THRESHOLD, 0))


def test_the_longest_of_constants_with_one_middle_is_taken():
    content = random.Random(2).randbytes(3 * THRESHOLD)
    inner = content[THRESHOLD:-THRESHOLD]
    assert Finder(constants(inner, content)).cut(b"x" + content) == (Piece(1), Piece(len(content), len(inner)))


def test_repetition_ends_where_a_reader_would_refuse_it():
    content = random.Random(3).randbytes(THRESHOLD)
    finder = Finder(constants(content))
    counts = [len(references(finder.cut(content * 10))) for _ in range(3)]
    assert counts == [10, EXPANSION - 10, 0]


def test_nothing_to_find():
    assert Finder(()).cut(b"code" * 5000) == (Piece(20_000),)
    assert Finder(constants(bytes(THRESHOLD))).cut(b"") == ()
