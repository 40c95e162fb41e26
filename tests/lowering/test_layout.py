"""Layouts: every index walks to the element that NumPy has there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from deepseek_core.lowering import Layout, broadcast, canonical, channels_last, collapse, stretched, strides_of


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(Layout):
    """A layout with its elements, flat."""

    memory: np.ndarray

    @classmethod
    def of(cls, array, order):
        return cls(str(array.dtype), array.shape, tuple(order), np.ascontiguousarray(array.transpose(order)).ravel())


def _walked(memory, sizes, strides):
    size = memory.itemsize
    return as_strided(memory, sizes, [size * stride for stride in strides])


def _ordered(tensor, order):
    array = _walked(tensor.memory, tensor.shape, tensor.strides)
    return replace(tensor, order=order) if tensor.lies_as(order) else Tensor.of(array, order)


_SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@st.composite
def arrays(draw, shapes=_SHAPES):
    shape = tuple(draw(shapes))
    order = draw(st.permutations(range(len(shape))))
    return np.arange(np.prod(shape)).reshape(shape) + 1000 * draw(st.integers(0, 9)), tuple(order)


def test_orders_by_rank() -> None:
    assert [channels_last(rank) for rank in range(6)] == [
        (),
        (0,),
        (0, 1),
        (0, 2, 1),
        (0, 2, 3, 1),
        (0, 2, 3, 4, 1),
    ]
    assert canonical(3) == (0, 1, 2)


@settings(max_examples=60, deadline=None)
@given(arrays())
def test_strides_find_every_element(drawn) -> None:
    array, order = drawn
    tensor = Tensor.of(array, order)
    np.testing.assert_array_equal(_walked(tensor.memory, tensor.shape, tensor.strides), array)
    assert tensor.count == array.size


@settings(max_examples=60, deadline=None)
@given(arrays(), st.data())
def test_orders_that_lie_alike_have_the_same_bytes(drawn, data) -> None:
    array, order = drawn
    other = tuple(data.draw(st.permutations(range(array.ndim))))
    same = np.array_equal(Tensor.of(array, order).memory, Tensor.of(array, other).memory)
    assert Tensor.of(array, order).lies_as(other) == same


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(4)), st.tuples(*[st.integers(1, 4)] * 4))
def test_collapsed_loops_visit_the_same_elements(order, shape) -> None:
    strides = strides_of(shape, tuple(order))
    plain = [sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]
    sizes, steps, target = collapse(shape, strides, strides_of(shape, canonical(4)))
    assert [sum(i * s for i, s in zip(index, steps, strict=True)) for index in np.ndindex(*sizes)] == plain
    assert [sum(i * s for i, s in zip(index, target, strict=True)) for index in np.ndindex(*sizes)] == list(
        range(len(plain))
    )


def test_loops_have_no_axis_too_many() -> None:
    assert collapse((2, 3, 4), (12, 4, 1)) == ((24,), (1,))
    assert collapse((2, 3, 4), (12, 4, 1), (0, 4, 1)) == ((2, 12), (12, 1), (0, 1))
    assert collapse((1, 1), (7, 7)) == ((1,), (1,))
    assert collapse((), ()) == ((1,), (1,))


def test_strides_of_a_side_that_repeats() -> None:
    assert stretched((3, 1), (1, 1), 4) == (0, 0, 1, 0)


@st.composite
def sides(draw):
    """A shape, and arrays that broadcast to it, each in an order of its own."""
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    tensors = []
    for _ in range(draw(st.integers(1, 3))):
        rank = draw(st.integers(0, len(shape)))
        kept = shape[len(shape) - rank :]
        own = tuple(size if draw(st.booleans()) else 1 for size in kept)
        tensors.append(Tensor.of(*draw(arrays(st.just(own)))))
    return shape, tensors


@settings(max_examples=150, deadline=None)
@given(sides())
def test_broadcast_sides_meet_their_elements_in_the_order_of_the_result(drawn) -> None:
    shape, tensors = drawn
    order, own, (dims, *strides) = broadcast(tensors, shape, _ordered)
    for tensor, side, row in zip(tensors, own, strides, strict=True):
        array = _walked(tensor.memory, tensor.shape, tensor.strides)
        expected = np.broadcast_to(array, shape).transpose(order).reshape(-1)
        np.testing.assert_array_equal(_walked(side.memory, dims, row).reshape(-1), expected)
    whole = [tensor for tensor in tensors if tensor.shape == shape]
    assert order == (whole[0].order if whole else canonical(len(shape)))
    assert not whole or own[tensors.index(whole[0])].memory is whole[0].memory, "a whole side stays where it is"
