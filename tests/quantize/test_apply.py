"""What a recipe makes of a model: canonical, named as before, and close to the float original."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_core.errors import ModelError
from deepseek_core.ir.ops import Role
from deepseek_core.ir.verify import verify
from deepseek_core.pipeline import calibrate, float_model, quantize
from deepseek_core.quantize import apply_recipe, derive_recipe
from deepseek_core.recipe import CalibratorSpec
from deepseek_core.reference import evaluate
from deepseek_core.reference import plugin as reference_plugin
from deepseek_core.registry import Backend, Registry
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, OpRule, Target

MINMAX = CalibratorSpec("minmax")


@pytest.fixture(scope="module")
def registry():
    return Registry([Backend(reference_plugin)])


def feeds_of(model, count=4, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            i.name: rng.normal(size=[d if isinstance(d, int) else 2 for d in i.shape]).astype(np.float32)
            for i in model.inputs
        }


def sqnr(exact, approximate):
    noise = np.square(exact - approximate).sum()
    return 10 * np.log10(np.square(exact).sum() / max(noise, 1e-30))


def quantized(model, table, registry, recipe=None):
    prepared = float_model(model)
    recipe = recipe or derive_recipe(prepared, [table], MINMAX)
    return apply_recipe(prepared, recipe, calibrate(prepared, recipe, feeds_of(model), registry=registry))


def test_the_result_is_canonical_keeps_its_names_and_is_close(residual, table, registry):
    result = quantized(residual, table, registry)
    verify(result)
    assert [(i.name, i.dtype) for i in result.outputs] == [("y", "float32")]
    kept = {v.name for node in result.graph for v in node.outputs}
    assert {"c2", "c3", "p", "y"} <= kept
    units = {unit.name: unit for unit in result.units()}
    assert all(units[name].is_quantized for name in ("conv_c1", "conv_c2", "conv_c3", "add_s", "gemm_y"))
    (feeds,) = feeds_of(residual, 1, seed=9)
    exact, approximate = evaluate(residual, feeds)["y"], evaluate(result, feeds)["y"]
    assert sqnr(exact, approximate) > 25
    assert not np.array_equal(exact, approximate)


def test_calibrated_shards_merge_to_the_same_model(residual, table, registry):
    prepared = float_model(residual)
    recipe = derive_recipe(prepared, [table])
    samples = list(feeds_of(residual, 6))
    whole = calibrate(prepared, recipe, samples, registry=registry)
    parts = calibrate(prepared, recipe, samples[4:], registry=registry).merge(
        calibrate(prepared, recipe, samples[:4], registry=registry)
    )
    assert apply_recipe(prepared, recipe, parts).digest() == apply_recipe(prepared, recipe, whole).digest()


def test_the_source_model_is_not_changed(residual, table, registry):
    before = residual.digest()
    quantized(residual, table, registry)
    assert residual.digest() == before


def test_tied_weights_are_quantized_for_each_reader(build, table, registry):
    w = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    model = build([("MatMul", ["x", "w"], ["a"]), ("MatMul", ["a", "w"], ["y"])], {"x": [2, 4]}, ["y"], w=w)
    result = quantized(model, table, registry)
    verify(result)
    assert "w" not in result.graph.initializers
    assert all(o.qparams for u in result.units() for o in u.operands(Role.WEIGHT))


def test_a_dead_channel_keeps_its_bias(build, table, registry):
    """A channel of tiny weights has a tiny scale; its int32 bias would saturate without more room."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    w[1] = 1e-12
    bias = np.array([0.1, 5.0, -0.2, 0.3], np.float32)
    model = build([("Conv", ["x", "w", "b"], ["y"])], {"x": [1, 3, 4, 4]}, ["y"], w=w, b=bias)
    result = quantized(model, table, registry)
    (feeds,) = feeds_of(model, 1)
    assert np.allclose(evaluate(result, feeds)["y"][:, 1], 5.0, atol=0.1)


def test_constant_zero_data_stays_exact(build, table, registry):
    model = build([("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, ["y"], w=np.zeros((4, 4), np.float32))
    result = quantized(model, table, registry)
    (feeds,) = feeds_of(model, 1)
    assert not evaluate(result, feeds)["y"].any()


def test_an_output_without_a_float_rule_keeps_its_name(build, table, registry):
    rules = tuple(r for r in table.rules if r.op == "Conv")
    model = build([("Conv", ["x", "w"], ["y"])], {"x": [1, 3, 4, 4]}, ["y"], w=np.ones((2, 3, 1, 1), np.float32))
    result = quantized(model, Capabilities(Target("toy", "host"), rules), registry)
    verify(result)
    assert [(i.name, i.dtype) for i in result.outputs] == [("y", "float32")]
    assert result.graph.outputs[0].producer().op_type == "DequantizeLinear"


def test_constant_data_operands_are_quantized(build, table, registry):
    w = np.random.default_rng(5).normal(size=(4, 4, 1, 1)).astype(np.float32)
    model = build(
        [
            ("Conv", ["x", "w"], ["c"]),
            ("Sigmoid", ["c"], ["g"]),
            ("Add", ["g", "k"], ["s"]),
            ("Conv", ["s", "w"], ["y"]),
        ],
        {"x": [1, 4, 3, 3]},
        ["y"],
        w=w,
        k=np.linspace(-1, 1, 4, dtype=np.float32).reshape(4, 1, 1),
    )
    result = quantized(model, table, registry)
    add = next(u for u in result.units() if u.op == "Add")
    assert [o.qparams is not None for o in add.inputs] == [True, True]
    (feeds,) = feeds_of(model, 1)
    assert sqnr(evaluate(model, feeds)["y"], evaluate(result, feeds)["y"]) > 25


def test_a_bias_that_cannot_be_fused_is_added_in_float(build, table, registry):
    w = np.eye(4, dtype=np.float32)
    model = build(
        [("MatMul", ["x", "w"], ["m"]), ("Add", ["m", "b"], ["s"]), ("MatMul", ["s", "w"], ["y"])],
        {"x": [2, 3, 4]},
        ["y"],
        w=w,
        b=np.array([1000, 0, 0, 0.01], np.float32),
    )
    result = quantized(model, table, registry)
    add = next(u for u in result.units() if u.op == "Add")
    assert [o.qparams for o in add.inputs] == [None, None]


def test_weight_only_rules_leave_activations_in_float(build, table, registry):
    block = QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, block_size=4)
    only = Capabilities(Target("toy", "host"), (OpRule("MatMul", DType.FLOAT32, DType.FLOAT32, block),))
    w = np.random.default_rng(3).normal(size=(8, 6)).astype(np.float32)
    model = build([("MatMul", ["x", "w"], ["y"])], {"x": [2, 8]}, ["y"], w=w)
    prepared = float_model(model)
    recipe = derive_recipe(prepared, [only])
    assert not recipe.activations
    result = apply_recipe(prepared, recipe, calibrate(prepared, recipe, feeds_of(model), registry=registry))
    verify(result)
    (weight,) = next(u for u in result.units() if u.op == "MatMul").operands(Role.WEIGHT)
    assert weight.qparams.scale.shape == (2, 6), "blocks run along the axis that is summed"
    (feeds,) = feeds_of(model, 1)
    assert sqnr(evaluate(model, feeds)["y"], evaluate(result, feeds)["y"]) > 10


def test_a_recipe_of_another_model_is_refused(residual, build, table, registry):
    recipe = derive_recipe(float_model(residual), [table], MINMAX)
    other = build([("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, ["y"], w=np.ones((4, 4), np.float32))
    prepared = float_model(other)
    stray = replace(recipe, activations={}, shared={}, biases=frozenset())
    with pytest.raises(ModelError, match="names node 'conv_c1', which the model does not have"):
        apply_recipe(
            prepared, stray, calibrate(prepared, derive_recipe(prepared, [table]), feeds_of(other), registry=registry)
        )


def test_a_quantized_model_is_not_quantized_again(residual, table, registry):
    with pytest.raises(ModelError, match="quantized already"):
        quantize(quantized(residual, table, registry), (), targets=["reference"], registry=registry)


def test_the_shapes_in_real_use_are_remembered(build, registry):
    model = build([("MatMul", ["x", "w"], ["y"])], {"x": ["rows", 4]}, ["y"], w=np.eye(4, dtype=np.float32))
    samples = [{"x": np.ones((rows, 4), np.float32)} for rows in (3, 5)]
    assert quantize(model, samples, targets=["reference"], registry=registry).metadata["sample_shapes"] == {"x": [3, 4]}


def test_a_model_with_nothing_to_quantize_says_why(build, registry):
    model = build([("Sigmoid", ["x"], ["y"])], {"x": [1, 4]}, ["y"])
    with pytest.raises(ModelError, match=r"nothing in the model can be quantized .*sigmoid_y"):
        quantize(model, feeds_of(model), targets=["reference"], registry=registry)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["MatMul", "Relu", "Sigmoid", "Add", "Transpose", "Skip"]), min_size=1, max_size=8),
    st.integers(0, 2**16),
)
def test_any_chain_stays_canonical_and_close(build, table, registry, ops, seed):
    rng = np.random.default_rng(seed)
    nodes, value, weights = [("MatMul", ["x", "w"], ["v0"])], "v0", {"w": rng.normal(0, 0.5, (4, 4)).astype(np.float32)}
    for i, op in enumerate(ops, 1):
        out = f"v{i}"
        if op == "MatMul":
            weights[f"w{i}"] = rng.normal(0, 0.5, (4, 4)).astype(np.float32)
            nodes.append(("MatMul", [value, f"w{i}"], [out]))
        elif op in ("Add", "Skip"):
            nodes.append(("Add", [value, "v0" if op == "Skip" else value], [out]))
        else:
            nodes.append((op, [value], [out]))
        value = out
    model = build(nodes, {"x": [4, 4]}, [value], **weights)
    result = quantized(model, table, registry)
    verify(result)
    for feeds in feeds_of(model, 2):  # the calibration samples themselves: no value is clipped
        exact, approximate = evaluate(model, feeds)[value], evaluate(result, feeds)[value]
        assert np.abs(exact - approximate).max() <= 0.1 * max(np.abs(exact).max(), 1.0)
