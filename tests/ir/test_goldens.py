"""Models of ONNX Runtime, NVIDIA ModelOpt, AMD Quark and NNCF keep every output value through the IR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import Role
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.ir.verify import verify
from deepseek_core.reference import evaluate
from deepseek_core.scheme import DType, Granularity

DATA = Path(__file__).parent / "data"
NAMES = sorted(path.stem for path in DATA.glob("*.onnx"))


def feeds(model: QuantizedModel, seed: int = 3) -> dict[str, np.ndarray]:
    (given,) = model.inputs
    return {given.name: np.random.default_rng(seed).normal(0, 1.5, given.shape).astype(np.float32)}


def raw(path: Path) -> QuantizedModel:
    """The file as it is, without canonicalisation; Quark does not sort its nodes."""
    model = ir.from_proto(onnx.load(path))
    model.graph.sort()
    return QuantizedModel(model)


def is_standard(name: str) -> bool:
    """Whether every operator of a file is ONNX's own; what vendors' mean, only the canonical form says."""
    return not any(node.domain for node in onnx.load(DATA / f"{name}.onnx").graph.node)


def step(model: QuantizedModel) -> float:
    """The largest scale that a code of the output can move by: one LSB in real units."""
    scales = [float(o.qparams.scale.max()) for u in model.units() for o in u.outputs if o.qparams is not None]
    return max(scales, default=0.0)


def test_every_tool_is_here():
    assert {name.split("_")[0] for name in NAMES} == {"onnxruntime", "modelopt", "quark", "nncf"}


@pytest.mark.parametrize("name", NAMES)
def test_loading_and_saving_reaches_a_fixed_point(name, goldens):
    model = load_model(goldens[name])
    data = to_bytes(model)
    again = load_model(data)
    assert to_bytes(again) == data, "names, order and bytes stay what they are"
    assert again.digest() == model.digest()
    assert again.metadata == model.metadata


@pytest.mark.parametrize("name", [name for name in NAMES if is_standard(name)])
def test_the_reference_gives_the_same_values_before_and_after(name, goldens):
    model = load_model(goldens[name])
    given = feeds(model)
    before, after = evaluate(raw(goldens[name]), given), evaluate(load_model(to_bytes(model)), given)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert np.array_equal(value, after[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_gives_the_same_values_before_and_after(name, goldens, run_ort):
    model = load_model(goldens[name])
    given = feeds(model)
    before, after = run_ort(goldens[name].read_bytes(), given), run_ort(to_bytes(model), given)
    for one, other in zip(before, after, strict=True):
        assert np.abs(one - other).max() <= 1.001 * step(model)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_agrees_with_onnx_runtime(name, goldens, run_ort):
    model = load_model(goldens[name])
    given = feeds(model)
    (theirs,), ours = run_ort(goldens[name].read_bytes(), given), evaluate(model, given)["y"]
    assert np.abs(theirs - ours).max() <= 1.001 * step(model) + 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_canonical(name, goldens, ops):
    model = load_model(goldens[name])
    verify(model)
    assert model.opset >= 21
    assert not any("::" in op for op in ops(model)), "no vendor operator is left"
    assert not {"QLinearConv", "QLinearMatMul", "Constant"} & set(ops(model))


def weights(model: QuantizedModel) -> list:
    return [o for u in model.units() for o in u.inputs if o is not None and o.role is Role.WEIGHT]


@pytest.mark.parametrize(
    ("name", "dtype", "granularity"),
    [
        ("onnxruntime_qdq_u8s8", DType.INT8, Granularity.PER_CHANNEL),
        ("onnxruntime_qdq_u8s4", DType.INT4, Granularity.PER_TENSOR),
        ("onnxruntime_qdq_u16u8", DType.UINT8, Granularity.PER_TENSOR),
        ("onnxruntime_qoperator_u8u8", DType.UINT8, Granularity.PER_TENSOR),
        ("onnxruntime_qoperator_s8s8", DType.INT8, Granularity.PER_CHANNEL),
        ("modelopt_int8_attention", DType.INT8, Granularity.PER_CHANNEL),
        ("modelopt_int4_projection", DType.INT4, Granularity.PER_BLOCK),
        ("nncf_convnet", DType.INT8, Granularity.PER_CHANNEL),
        ("quark_xint8", DType.INT8, Granularity.PER_TENSOR),
    ],
)
def test_weights_are_stored_as_codes(name, dtype, granularity, goldens):
    found = [o for o in weights(load_model(goldens[name])) if o.qparams is not None]
    assert found
    for operand in found:
        assert operand.is_constant
        assert operand.value.const_value.dtype.name.lower() == dtype
        assert operand.qparams.scheme.dtype is dtype
        assert operand.qparams.scheme.granularity is granularity


@pytest.mark.parametrize("name", ["onnxruntime_qdq_u8s8", "onnxruntime_qoperator_s8s8", "quark_xint8"])
def test_biases_are_int32_with_the_scale_of_the_product(name, goldens):
    model = load_model(goldens[name])
    convolutions = [u for u in model.units() if u.op in ("Conv", "Gemm")]
    assert len(convolutions) == 4
    for unit in convolutions:
        data, weight, bias = unit.inputs
        if name == "quark_xint8":
            # Quark gives a bias its own power of two.
            assert bias.qparams is not None
            continue
        assert bias.qparams.scheme.dtype is DType.INT32
        assert np.allclose(bias.qparams.scale, data.qparams.scale * weight.qparams.scale, rtol=1e-6)


def test_quarks_scales_are_powers_of_two(goldens):
    for unit in load_model(goldens["quark_xint8"]).units():
        for operand in unit.outputs:
            if operand.qparams is not None:
                assert np.frexp(operand.qparams.scale)[0] == 0.5


def test_max_pool_on_codes_says_what_they_mean(goldens):
    model = load_model(goldens["onnxruntime_qoperator_u8u8"])
    pool = next(u for u in model.units() if u.op == "MaxPool")
    assert pool.inputs[0].qparams.equals(pool.outputs[0].qparams)
