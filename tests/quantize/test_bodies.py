"""Branches and loop bodies are calibrated and quantized like the main graph; what never ran stays in float."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from deepseek_core.calibration import Calibration
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.ops import Role
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.ir.verify import verify
from deepseek_core.options import CompileOptions
from deepseek_core.passes import UnrollLimits, prepare
from deepseek_core.pipeline import calibrate, compile, float_model, quantize, recipe_for
from deepseek_core.quantize import QuantizedWeight, apply_recipe, observed_values, weight_params
from deepseek_core.recipe import CalibratorSpec, Recipe
from deepseek_core.reference import evaluate
from deepseek_core.registry import discover
from deepseek_core.runtime import Session

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
RNG = np.random.default_rng(7)
MINMAX = CalibratorSpec("minmax")


def model_of(text, **weights):
    proto = onnx.parser.parse_model(HEADER + text)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return load_model(proto)


def f32(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def sqnr(exact, approximate):
    noise = np.square(exact - approximate, dtype=np.float64).sum()
    return 10 * np.log10(np.square(exact, dtype=np.float64).sum() / max(noise, 1e-30))


def on_cpu(model, feeds):
    backend, target = discover().resolve("cpu")
    executable = backend.load(backend.compile(model, target, CompileOptions(optimize=0)))
    results = [executable.run(feed) for feed in feeds]
    executable.close()
    return results


def check(model, samples, tests, least):
    """Quantize; reference and cpu agree, and both are close to the float model."""
    result = quantize(model, samples, calibrator=MINMAX)
    verify(result)
    exact, ours = on_cpu(float_model(model), tests), on_cpu(result, tests)
    for feed, one, other in zip(tests, exact, ours, strict=True):
        for name, defined in evaluate(result, feed).items():
            np.testing.assert_allclose(other[name], defined, rtol=1e-4, atol=1e-5)
            assert sqnr(one[name], other[name]) > least
    assert load_model(to_bytes(result)).digest() == result.digest()
    return result


BRANCH = """g (float[4, 16] x, bool c) => (float[4, 8] y) {
  v = Gemm(x, w0, b0)
  r = If (c) <
    then_branch = a () => (float[4, 16] p) { s = Gemm(v, w1, b1) t = Relu(s) p = Gemm(t, w2, b2) },
    else_branch = b () => (float[4, 16] q) { u = MatMul(v, w3) o = Tanh(u) q = Identity(o) }
  >
  y = Gemm(r, w4, b4)
}"""


@pytest.fixture
def branch():
    shapes = {"w0": (16, 16), "w1": (16, 32), "w2": (32, 16), "w3": (16, 16), "w4": (16, 8)}
    biases = {"b0": (16,), "b1": (32,), "b2": (16,), "b4": (8,)}
    return model_of(BRANCH, **{name: f32(*shape) for name, shape in (shapes | biases).items()})


def branch_feeds(count, *conditions):
    return [{"x": f32(4, 16), "c": np.array(c)} for _ in range(count) for c in conditions]


def quantized_ops(model, *, inside):
    """Ops with a quantized weight; any reader of codes has a DQ in front of it."""
    units = [unit for unit in model.all_units() if bool(unit.path) == inside]
    return sorted(unit.op for unit in units if any(operand.qparams for operand in unit.operands(Role.WEIGHT)))


def test_both_branches_are_quantized(branch):
    result = check(branch, branch_feeds(16, True, False), branch_feeds(4, True, False), least=24)
    assert quantized_ops(result, inside=True) == ["Gemm", "Gemm", "MatMul"]
    inner = [unit for unit in result.all_units() if unit.path]
    biases = [operand.qparams.scheme.dtype for unit in inner for operand in unit.operands(Role.BIAS)]
    assert biases == ["int32", "int32"]


def test_codes_of_an_outer_value_enter_the_branch(branch):
    """v is made by a quantized unit outside: its codes are captured, and a DQ stands in the body."""
    result = quantize(branch, branch_feeds(4, True, False))
    (first,) = [unit for unit in result.all_units() if unit.path and unit.op == "Gemm" and unit.activation]
    codes = first.operands(Role.DATA)[0].value
    assert codes.producer().op_type == "QuantizeLinear"
    assert codes.producer().graph is result.graph
    assert first.nodes[0].op_type == "DequantizeLinear"
    assert first.nodes[0].graph is first.node.graph


def test_a_branch_that_is_never_taken_stays_in_float_and_says_so(branch):
    result = check(branch, branch_feeds(8, True), branch_feeds(2, True), least=24)
    assert quantized_ops(result, inside=True) == ["Gemm", "Gemm"]
    recipe = Recipe.from_json(result.metadata["recipe"])
    assert recipe.skipped["MatMul"] == "calibration never ran its branch or loop body"
    other = Recipe.from_json(quantize(branch, branch_feeds(2, False)).metadata["recipe"])
    gemms = [unit.node.name for unit in float_model(branch).all_units() if unit.path and unit.op == "Gemm"]
    assert {other.skipped[name] for name in gemms} == {"calibration never ran its branch or loop body"}
    (float_feed,) = branch_feeds(1, False)
    assert np.isfinite(evaluate(result, float_feed)["y"]).all()


def test_a_branch_without_activations_of_its_own_is_watched_by_its_result():
    """The only quantized unit of the branch reads an outer value and gives a float one."""
    text = """g (float[4, 16] x, bool c) => (float[4, 16] y, float[4, 8] z) {
      z = MatMul(x, w0)
      y = If (c) <
        then_branch = a () => (float[4, 16] p) { p = MatMul(x, w1) },
        else_branch = b () => (float[4, 16] q) { q = Neg(x) }
      >
    }"""
    model = model_of(text, w0=f32(16, 8), w1=f32(16, 16))
    prepared = float_model(model)
    recipe = recipe_for(prepared, ["cpu"])
    assert observed_values(prepared, recipe) == ("x", "p")
    never, taken = (quantize(model, branch_feeds(3, c)) for c in (False, True))
    assert quantized_ops(never, inside=True) == []
    assert quantized_ops(taken, inside=True) == ["MatMul"]


LOOP = """g (float[4, 16] x, int64 n) => (float[4, 16] y, float[N, 4, 8] s) {
  y, s = Loop (n, , x) <body = b (int64 i, bool c, float[4, 16] h) => (bool d, float[4, 16] k, float[4, 8] m) {
    d = Identity(c)
    u = Gemm(h, w0, b0)
    r = Relu(u)
    e = Gemm(r, w1, b1)
    k = Tanh(e)
    m = MatMul(r, w2)
  }>
}"""


@pytest.fixture
def loop():
    return model_of(LOOP, w0=f32(16, 16), b0=f32(16), w1=f32(16, 16), b1=f32(16), w2=f32(16, 8))


def loop_feeds(count, *trips):
    return [{"x": f32(4, 16), "n": np.array(n)} for _ in range(count) for n in trips]


def test_a_loop_body_is_calibrated_over_all_trips(loop):
    prepared = float_model(loop)
    recipe = recipe_for(prepared, ["cpu"])
    samples = loop_feeds(3, 1, 4)
    calibration = calibrate(prepared, recipe, samples)
    assert calibration["h"].count == 3 * (1 + 4) * 64
    parts = calibrate(prepared, recipe, samples[2:]).merge(calibrate(prepared, recipe, samples[:2]))
    assert parts.digest() == calibration.digest()
    assert quantized_ops(check(loop, loop_feeds(8, 1, 4), loop_feeds(2, 3), 20), inside=True) == [
        "Gemm",
        "Gemm",
        "MatMul",
    ]


def test_a_loop_that_made_no_trip_stays_in_float(loop):
    result = quantize(loop, loop_feeds(3, 0))
    assert not any(unit.is_quantized for unit in result.all_units())
    recipe = Recipe.from_json(result.metadata["recipe"])
    assert (dict(recipe.activations), dict(recipe.weights)) == ({}, {})


def test_an_unrolled_loop_shares_its_codes(loop):
    """Each trip has ranges of its own, the weights are stored once."""
    text = LOOP.replace("int64 n)", "int64 unused)").replace("(n, , x)", "(three, , x)")
    text = text.replace("{\n  y, s", "<int64 three = {3}> {\n  y, s", 1)
    weights = {
        name: tensor.const_value.numpy() for name, tensor in loop.graph.initializers.items() if name in "w0b0w1b1w2"
    }
    model = model_of(text, **weights)
    samples = [{"x": feed["x"], "unused": feed["n"]} for feed in loop_feeds(8, 0)]
    result = check(model, samples, samples[:2], least=20)
    assert not list(result.graph.subgraphs())
    gemms = [unit for unit in result.units() if unit.op in ("Gemm", "MatMul") and unit.is_quantized]
    assert len(gemms) == 9
    assert len({unit.operands(Role.WEIGHT)[0].value for unit in gemms}) <= 6
    assert len({float(unit.operands(Role.DATA)[0].qparams.scale) for unit in gemms}) > 3


def test_a_scan_body_is_quantized():
    text = """g (float[4, 16] x, float[5, 4, 16] z) => (float[4, 16] y, float[5, 4, 8] s) {
      y, s = Scan <num_scan_inputs = 1, body = b (float[4, 16] h, float[4, 16] l) => (float[4, 16] k, float[4, 8] m) {
        u = MatMul(h, w0)
        v = MatMul(l, w1)
        a = Add(u, v)
        k = Tanh(a)
        m = MatMul(k, w2)
      }> (x, z)
    }"""
    model = model_of(text, w0=f32(16, 16), w1=f32(16, 16), w2=f32(16, 8))
    feeds = [{"x": f32(4, 16), "z": f32(5, 4, 16)} for _ in range(8)]
    assert quantized_ops(check(model, feeds, feeds[:2], least=20), inside=True).count("MatMul") == 3


def test_codes_are_chosen_for_weights_in_bodies_too(branch):
    prepared = float_model(branch)
    recipe = recipe_for(prepared, ["cpu"])
    calibration = calibrate(prepared, recipe, branch_feeds(4, True, False))
    params = weight_params(prepared, recipe, calibration)
    inner = next(key for key in params if key[0] == "MatMul")
    weight = prepared.graph.initializers["w3"].const_value.numpy()
    codes = np.trunc(weight / params[inner].scale).astype(np.int8)
    result = apply_recipe(prepared, recipe, calibration, weights={inner: QuantizedWeight(codes, params[inner])})
    (unit,) = [unit for unit in result.all_units() if unit.node.name == "MatMul"]
    np.testing.assert_array_equal(unit.operands(Role.WEIGHT)[0].value.const_value.numpy(), codes)


def test_a_given_weight_of_a_branch_that_never_ran_is_left_out(branch):
    prepared = float_model(branch)
    recipe = recipe_for(prepared, ["cpu"])
    everything = calibrate(prepared, recipe, branch_feeds(4, True, False))
    params = weight_params(prepared, recipe, everything)
    given = {
        k: QuantizedWeight(p.quantize(np.zeros((16, 16), np.float32)), p) for k, p in params.items() if k[0] == "MatMul"
    }
    calibration = calibrate(prepared, recipe, branch_feeds(4, True))
    assert "MatMul" not in {key[0] for key in weight_params(prepared, recipe, calibration)}
    result = apply_recipe(prepared, recipe, calibration, weights=given)
    assert quantized_ops(result, inside=True) == ["Gemm", "Gemm"]


def test_a_package_of_quantized_bodies_runs(branch, tmp_path):
    result = quantize(branch, branch_feeds(4, True, False))
    compile(result, ["cpu"]).save(tmp_path / "m.ds")
    feeds = branch_feeds(1, True, False)
    with Session(tmp_path / "m.ds") as session:
        for feed in feeds:
            np.testing.assert_allclose(session.run(feed)["y"], evaluate(result, feed)["y"], rtol=1e-4, atol=1e-5)


def test_a_tensor_that_is_always_empty_stays_in_float():
    text = """g (float[A, 16] x, float[B, 16] z) => (float[C, 8] y, float[D, 8] s) {
      y = MatMul(x, w0)
      s = MatMul(z, w0)
    }"""
    model = model_of(text, w0=f32(16, 8))
    prepared = float_model(model)
    recipe = recipe_for(prepared, ["cpu"])
    stats = dict(calibrate(prepared, recipe, [{"x": f32(2, 16), "z": f32(1, 16)}]).stats)
    stats["z"] = type(stats["z"])()
    result = apply_recipe(prepared, recipe, Calibration(stats))
    skipped = Recipe.from_json(result.metadata["recipe"]).skipped
    assert list(skipped.values()) == ["'z' held no value in any calibration sample"]
    assert quantized_ops(result, inside=False) == ["MatMul"]


def test_preparing_with_other_limits_gives_a_model_to_quantize(loop):
    copy = loop.clone()
    prepare(copy, UnrollLimits(trips=0))
    assert to_bytes(copy) == to_bytes(float_model(loop))
