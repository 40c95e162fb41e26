from __future__ import annotations

import numpy as np
import onnx_ir as ir
from deepseek.quantization.execution import Runner
from deepseek.quantization.search.half import to_half

from .conftest import perceptron, samples_of, transformer


def casts(model: object) -> list[str]:
    return [node.inputs[0].name for node in model.graph if node.op_type == "Cast"]  # type: ignore[attr-defined]


def test_neighbours_in_float16_share_values_without_casts() -> None:
    model = to_half(perceptron(), ["gemm_0", "gemm_1", "gemm_2"])
    assert casts(model) == ["x", "y_half"]
    assert {v.dtype for v in model.graph.initializers.values() if v.uses()} == {ir.DataType.FLOAT16}


def test_a_unit_alone_is_cast_on_both_sides() -> None:
    assert casts(to_half(perceptron(), ["gemm_1"])) == ["a0", "a1_half"]


def test_float32_readers_keep_the_value_under_its_name() -> None:
    source = transformer(sharp=1.0, outlier=1.0)
    model = to_half(source, ["project", "residual"])
    names = {value.name for node in model.graph for value in node.outputs}
    assert {"residual", "mixed"} <= names
    assert {unit.name for unit in source.units()} <= {unit.name for unit in model.units()}


def test_the_result_differs_by_the_rounding_of_float16_only() -> None:
    source = transformer(sharp=1.0, outlier=1.0)
    model = to_half(source, [unit.name for unit in source.units()])
    (feeds,) = samples_of(source, 1)
    with Runner(source) as real, Runner(model) as half:
        wanted, got = real(feeds)["y"], half(feeds)["y"]
    assert got.dtype == np.float32
    assert 0 < np.abs(got - wanted).max() < 0.02 * np.abs(wanted).max()


def test_the_origin_is_left_alone() -> None:
    source = perceptron()
    before = source.digest()
    to_half(source, ["gemm_1"])
    assert source.digest() == before
