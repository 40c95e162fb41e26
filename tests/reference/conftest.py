"""Models of a few nodes, and the numerics written a second time: scalar Python, one element after the other."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepseek_core.ir.model import QuantizedModel
from deepseek_core.reference import evaluate

Array = NDArray[Any]
Build = Callable[..., onnx.ModelProto]
Run = Callable[..., dict[str, Array]]


class Scalar:
    """The definition in Python's own numbers; nothing here calls NumPy."""

    @staticmethod
    def f32(x: float) -> float:
        """The float32 next to a float64."""
        try:
            return float(struct.unpack("f", struct.pack("f", x))[0])
        except OverflowError:
            return math.copysign(math.inf, x)

    @staticmethod
    def round_half_even(x: float) -> int:
        whole, rest = divmod(Fraction(x), 1)
        if rest == Fraction(1, 2):
            return int(whole) + int(whole) % 2
        return int(whole) + (rest > Fraction(1, 2))

    @classmethod
    def code(cls, ratio: float, zero: int, low: int, high: int) -> int:
        """saturate(round_half_even(ratio) + zero); NaN is the code of 0."""
        if math.isnan(ratio):
            return zero
        if math.isinf(ratio):
            return high if ratio > 0 else low
        return min(max(cls.round_half_even(ratio) + zero, low), high)

    @classmethod
    def quantize(cls, x: float, scale: float, zero: int, low: int, high: int) -> int:
        return cls.code(cls.f32(x / scale), zero, low, high)

    @classmethod
    def multiplier(cls, x_scale: float, w_scale: float, y_scale: float) -> float:
        return cls.f32(cls.f32(x_scale * w_scale) / y_scale)

    @classmethod
    def requantize(cls, accumulator: int, multiplier: float, zero: int, low: int, high: int) -> int:
        return cls.code(cls.f32(cls.f32(accumulator) * multiplier), zero, low, high)

    @staticmethod
    def wrap(total: int) -> int:
        return (total + 2**31) % 2**32 - 2**31


@pytest.fixture(scope="session")
def scalar() -> type[Scalar]:
    return Scalar


def _build(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 21,
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "graph", inputs, results, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.fixture(scope="session")
def build() -> Build:
    """`build(nodes, feeds, outputs, constants, opset=21)`: a model whose inputs have the types of `feeds`."""
    return _build


@pytest.fixture(scope="session")
def run() -> Run:
    """`run(nodes, feeds, outputs, constants, taps=(), opset=21)`: the reference's results by name."""

    def call(
        nodes: Sequence[onnx.NodeProto],
        feeds: Mapping[str, Array],
        outputs: Sequence[str],
        constants: Mapping[str, Array] | None = None,
        taps: Sequence[str] = (),
        *,
        opset: int = 21,
    ) -> dict[str, Array]:
        model = QuantizedModel(ir.from_proto(_build(nodes, feeds, outputs, constants, opset)))
        return evaluate(model, feeds, taps)

    return call
