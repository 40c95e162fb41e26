"""A layout is right when its rows times its matrix are what the reference backend makes of the op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from deepseek.quantization.grams import layout_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_core.reference import evaluate

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(single: Any, op: str, x: np.ndarray, weight: np.ndarray, **attributes: Any) -> None:
    unit, model = single(op, x.shape, weight, **attributes)
    layout = layout_of(unit, weight.shape)
    assert layout is not None
    y = evaluate(model, {"x": x})["y"]
    picks = np.arange(layout.places(x.shape, y.shape))
    rows, outputs = layout.rows(x, y.shape, picks), layout.outputs(y, x.shape, picks)
    matrix = layout.matrix(weight)
    assert rows.shape == (matrix.shape[0], len(picks), matrix.shape[2])
    assert outputs.size == y.size
    np.testing.assert_allclose(rows @ matrix.swapaxes(1, 2), outputs, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layout.array(matrix), weight)
    some = picks[::-2]
    np.testing.assert_array_equal(layout.rows(x, y.shape, some), rows[:, some])
    np.testing.assert_array_equal(layout.outputs(y, x.shape, some), outputs[:, some])


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@QUICK
@given(data=st.data())
def test_convolutions(single: Any, data: st.DataObject) -> None:
    draw = data.draw
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides, dilations = ([draw(st.integers(1, 2)) for _ in range(rank)] for _ in range(2))
    spatial = [draw(st.integers((k - 1) * d + 1, (k - 1) * d + 3)) for k, d in zip(kernel, dilations, strict=True)]
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "dilations": dilations}
    if draw(st.booleans()):
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    x = normal(draw(st.integers(0, 9)), draw(st.integers(1, 2)), channels, *spatial)
    check(single, "Conv", x, normal(1, outputs, channels // groups, *kernel), **attributes)


@QUICK
@given(data=st.data())
def test_transposed_convolutions(single: Any, data: st.DataObject) -> None:
    draw = data.draw
    rank, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides, dilations = ([draw(st.integers(1, 3)) for _ in range(rank)] for _ in range(2))
    extra = [draw(st.integers(0, s - 1)) for s in strides]
    channels = groups * draw(st.integers(1, 2))
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "dilations": dilations, "output_padding": extra}
    if draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, k // 2)) for k in kernel] * 2
    x = normal(2, draw(st.integers(1, 2)), channels, *(draw(st.integers(2, 4)) for _ in range(rank)))
    weight = normal(3, channels, draw(st.integers(1, 3)), *kernel)
    check(single, "ConvTranspose", x, weight, **attributes)


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm(single: Any, flip: int, turned: int) -> None:
    x = normal(4, *((7, 5) if turned else (5, 7)))
    weight = normal(5, *((3, 7) if flip else (7, 3)))
    check(single, "Gemm", x, weight, transA=turned, transB=flip, alpha=0.5)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        ((4, 6), (6, 3)),
        ((2, 3, 4, 6), (6, 3)),
        ((6,), (6, 3)),
        ((4, 6), (6,)),
        ((2, 4, 6), (2, 6, 3)),
        ((5, 2, 4, 6), (2, 6, 3)),
        ((4, 6), (2, 6, 3)),
        ((2, 1, 4, 6), (2, 5, 6, 3)),
        ((3, 2, 4, 6), (3, 1, 6, 2)),
        ((6,), (2, 6, 3)),
    ],
)
def test_matmul(single: Any, x: tuple[int, ...], weight: tuple[int, ...]) -> None:
    check(single, "MatMul", normal(6, *x), normal(7, *weight))


def test_equal_signatures_mean_equal_rows(single: Any) -> None:
    def signature(outputs: int, **attributes: Any) -> object:
        weight = normal(8, outputs, 4, 3, 3)
        layout = layout_of(single("Conv", (1, 4, 8, 8), weight, **attributes)[0], weight.shape)
        assert layout is not None
        return layout.signature()

    assert signature(2, pads=[1, 1, 1, 1]) == signature(5, pads=[1, 1, 1, 1])
    assert signature(2, pads=[1, 1, 1, 1]) != signature(2)
    assert signature(2, strides=[2, 2]) != signature(2)


def test_ops_that_do_not_accumulate_have_none(single: Any) -> None:
    assert layout_of(single("Add", (2, 3), normal(9, 3))[0], (3,)) is None
