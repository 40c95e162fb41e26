"""Which units a recipe quantizes, and with which schemes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepseek_core.quantize import derive_recipe
from deepseek_core.recipe import CalibratorSpec, Recipe
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, Limit, OpRule, Target

W = np.ones((4, 4), np.float32)


def test_a_residual_network_is_quantized_up_to_its_float_output(residual, table):
    recipe = derive_recipe(residual, [table], CalibratorSpec("minmax"))
    assert set(recipe.activations) == {"x", "r1", "c2", "c3", "r2", "p"}
    assert recipe.shared == {"f": "p"}, "Flatten keeps the codes it moves"
    assert "y" not in recipe.activations, "no quantized unit reads the output, so the last layer stays precise"
    assert not recipe.skipped
    assert {r.scheme.granularity for r in recipe.weights.values()} == {Granularity.PER_CHANNEL}
    assert {(n, r.scheme.axis) for (n, _), r in recipe.weights.items()} == {
        ("conv_c1", 0),
        ("conv_c2", 0),
        ("conv_c3", 0),
        ("gemm_y", 0),
    }
    assert recipe.biases == {("conv_c1", 2), ("conv_c2", 2), ("gemm_y", 2)}


@pytest.mark.parametrize(
    ("attributes", "moves"),
    [
        ({}, True),
        ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}, True),
        ({"mode": "nearest", "coordinate_transformation_mode": "tf_crop_and_resize"}, False),
        ({"mode": "linear"}, False),
    ],
)
def test_resize_to_the_nearest_keeps_codes(build, table, attributes, moves):
    model = build(
        [
            ("Conv", ["x", "w"], ["c"]),
            ("Resize", ["c", "box", "twice"], ["r"], attributes),
            ("Conv", ["r", "w"], ["y"]),
        ],
        {"x": [1, 4, 5, 5]},
        ["y"],
        w=np.ones((4, 4, 1, 1), np.float32),
        box=np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32),
        twice=np.array([1, 1, 2, 2], np.float32),
    )
    recipe = derive_recipe(model, [table])
    assert recipe.shared == ({"r": "c"} if moves else {})
    assert ("r" in recipe.activations) is not moves


def test_a_recipe_survives_json(residual, table):
    recipe = derive_recipe(residual, [table])
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_elementwise_units_alone_are_not_worth_quantizing(build, table):
    model = build([("Add", ["x", "x"], ["a"]), ("Sigmoid", ["a"], ["y"])], {"x": [1, 4]}, ["y"])
    recipe = derive_recipe(model, [table])
    assert not recipe.activations
    assert recipe.skipped["add_a"] == "its input is float"


def test_a_residual_stream_stays_float_around_quantized_matmuls(build, table):
    model = build(
        [("MatMul", ["x", "w1"], ["m1"]), ("Add", ["m1", "x"], ["r"]), ("MatMul", ["r", "w2"], ["y"])],
        {"x": [1, 4]},
        ["y"],
        w1=W,
        w2=W,
    )
    recipe = derive_recipe(model, [table])
    assert set(recipe.activations) == {"x", "r"}
    assert "m1" not in recipe.activations, "its only reader is a float Add"
    assert recipe.skipped == {"add_r": "its input is float"}


def test_a_unit_outside_a_limit_is_skipped_with_the_reason(build, table):
    narrow = Capabilities(
        Target("toy", "small"),
        tuple(
            OpRule(r.op, r.activation, r.output, r.weight, r.bias, r.fused, (Limit("channels", maximum=3),))
            for r in table.rules
        ),
    )
    model = build([("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, ["y"], w=W)
    recipe = derive_recipe(model, [narrow])
    assert not recipe.weights
    assert "toy:small" in recipe.skipped["matmul_y"]


def test_the_second_table_serves_what_the_first_does_not(build, table):
    only_conv = Capabilities(Target("npu", "tiny"), tuple(r for r in table.rules if r.op == "Conv"))
    model = build([("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, ["y"], w=W)
    assert derive_recipe(model, [only_conv]).weights == {}
    assert derive_recipe(model, [only_conv, table]).weights.keys() == {("matmul_y", 1)}


def test_conflicting_schemes_leave_the_later_unit_in_float(build, table):
    signed = QuantScheme(DType.INT8, symmetric=True)
    mixed = Capabilities(
        Target("toy", "mixed"),
        (OpRule("Gemm", signed, signed, signed, DType.INT32), *(r for r in table.rules if r.op == "MatMul")),
    )
    model = build([("MatMul", ["x", "w"], ["a"]), ("Gemm", ["x", "w"], ["b"])], {"x": [1, 4]}, ["a", "b"], w=W)
    recipe = derive_recipe(model, [mixed])
    assert len(recipe.weights) == 1
    assert any("another scheme" in reason for reason in recipe.skipped.values())


def test_an_activation_that_no_rule_fuses_is_a_step_of_its_own(build, table):
    model = build(
        [("MatMul", ["x", "w1"], ["m"]), ("Sigmoid", ["m"], ["s"]), ("MatMul", ["s", "w2"], ["y"])],
        {"x": [1, 4]},
        ["y"],
        w1=W,
        w2=W,
    )
    recipe = derive_recipe(model, [table])
    assert {"x", "m", "s"} == set(recipe.activations)
    assert not recipe.skipped


def test_integer_data_is_left_alone(build, table):
    model = build([("Flatten", ["i"], ["y"])], {"x": [1, 4]}, ["y"], i=np.arange(4).reshape(2, 2))
    assert not derive_recipe(model, [table]).activations


def test_units_kept_in_float_are_skipped_with_the_given_reason(residual, table):
    every = derive_recipe(residual, [table])
    unit = next(iter(every.weights))[0]
    recipe = derive_recipe(residual, [table], keep_float={unit: "too sensitive"})
    assert recipe.skipped[unit] == "too sensitive"
    assert (unit, 1) in every.weights
    assert (unit, 1) not in recipe.weights


def test_a_unit_may_be_decided_by_tables_of_its_own(residual, table):
    unit = next(iter(derive_recipe(residual, [table]).weights))[0]
    four = QuantScheme(DType.INT4, Granularity.PER_CHANNEL, symmetric=True)
    narrow = replace(table, rules=tuple(replace(r, weight=four) if r.weight is not None else r for r in table.rules))
    recipe = derive_recipe(residual, [table], unit_tables={unit: [narrow]})
    assert {key[0]: w.scheme.dtype for key, w in recipe.weights.items()}[unit] is DType.INT4
    assert {w.scheme.dtype for key, w in recipe.weights.items() if key[0] != unit} == {DType.INT8}
