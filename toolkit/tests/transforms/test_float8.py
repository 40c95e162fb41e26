"""float8 from the recipe to the result: layers with weights and products, scales per channel, the rest in float."""

from __future__ import annotations

import numpy as np

from deepseek_core import DType, Granularity, Role, discover
from deepseek_core.pipeline import compile as compile_model
from deepseek_core.runtime import Session


def network(draft):
    """Conv → ReLU → Conv → Clip → mean → Gemm: activations in front of float8 codes, which ONNX Runtime mistakes."""
    x = draft.op("Relu", draft.op("Conv", "x", draft.weight(8, 3, 3, 3), draft.weight(8)))
    low, high = draft.constant(np.float32(-0.5)), draft.constant(np.float32(2))
    x = draft.op("Clip", draft.op("Conv", x, draft.weight(8, 8, 3, 3)), low, high)
    x = draft.op("Flatten", draft.op("GlobalAveragePool", x))
    return draft.model({"x": ["n", 3, 10, 10]}, draft.op("Gemm", x, draft.weight(5, 8), draft.weight(5), transB=1))


def images(seed, count):
    random = np.random.default_rng(seed)
    return [{"x": random.standard_normal((2, 3, 10, 10)).astype(np.float32)} for _ in range(count)]


def test_weights_have_a_scale_per_channel_and_outputs_are_close(new_draft, start, fidelity):
    work = start(network(new_draft(0)), images(0, 8), "fp8")
    quantized = [unit for unit in work.quantized().units() if unit.operands(Role.WEIGHT)]
    assert [unit.op for unit in quantized] == ["Conv", "Conv", "Gemm"]
    for unit in quantized:
        (weight,), (data,) = unit.operands(Role.WEIGHT), unit.operands(Role.DATA)
        assert weight.qparams.scheme.granularity is Granularity.PER_CHANNEL
        assert weight.dtype is data.dtype is DType.FLOAT8E4M3FN
    assert fidelity(work, images(1, 4)) > 25


def test_a_compiled_package_says_the_same_as_the_reference(new_draft, start):
    model = start(network(new_draft(1)), images(0, 8), "fp8").quantized()
    (feeds,) = images(1, 1)
    results = []
    for target in ("cpu", "reference"):
        with Session(compile_model(model, [target], registry=discover())) as session:
            (result,) = session.run(feeds).values()
            results.append(result)
    np.testing.assert_allclose(*results, rtol=1e-3, atol=0.02 * np.abs(results[1]).max())


def test_integer_recipes_do_not_change(new_draft, start):
    recipe = start(network(new_draft(0)), images(0, 2)).recipe()
    kinds = {entry.scheme.dtype for entry in (*recipe.activations.values(), *recipe.weights.values())}
    assert kinds <= {DType.INT8, DType.UINT8}
