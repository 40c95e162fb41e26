"""Cases are legal, repeatable, and bring the numbers they promise."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target
from deepseek_core.conformance import cases
from deepseek_core.conformance.draft import Draft, plain_problems
from deepseek_core.conformance.expected import expected_outputs
from deepseek_core.conformance.forms import FAMILIES, family, fit
from deepseek_core.conformance.forms.named import FAMILIES as NAMED
from deepseek_core.conformance.limits import limit_cases
from deepseek_core.conformance.numbers import policies
from deepseek_core.conformance.rules import labelled_rules
from deepseek_core.expectations import Expectations, Rounding
from deepseek_core.ir.verify import verify
from deepseek_core.reference import evaluate
from deepseek_core.reference.capabilities import TARGET
from deepseek_core.reference.capabilities import capabilities as reference_table

from .mutants.base import TABLE

U8 = QuantScheme(DType.UINT8)
CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)


def table(*rules: OpRule, **more: object) -> Capabilities:
    return Capabilities(Target("npu", "v1"), rules, **more)  # type: ignore[arg-type]


def codes_of(rule: OpRule, policy: str, expectations: Expectations = Expectations()) -> np.ndarray:  # noqa: B008
    """Expected codes of the base form with a policy's numbers."""
    found = family(rule.op, weight=rule.weight is not None)
    chosen = next(p for p in policies(rule) if p.name == policy)
    draft = Draft(f"test/{policy}", rule, found, chosen, chosen.settings(fit(found, rule.limits)))
    (output,) = expected_outputs(draft.problem, expectations)[0].values()
    return output


def test_ids_are_unique_and_need_no_model():
    every = cases(reference_table(TARGET))
    ids = [case.id for case in every]
    assert len(set(ids)) == len(ids) > 3000
    assert all(case.probes for case in every)


def test_every_family_gives_canonical_models():
    """Verification takes what the kit builds: one problem of each rule of the reference's table and of floats."""
    names = set()
    for name, problem in plain_problems(reference_table(TARGET)):
        verify(problem.model)
        names.add(name.split("/")[0])
    assert set(FAMILIES) <= names


def test_ops_that_few_run_are_asked_for_by_rules_alone():
    assert not set(NAMED) & set(FAMILIES)
    assert not any(case.op in NAMED for case in cases(reference_table(TARGET)))
    rules = table(*(OpRule(op, DType.FLOAT32, DType.FLOAT32) for op in NAMED))
    posed = [(name.split("/")[0], problem) for name, problem in plain_problems(rules)]
    assert {op for op, _ in posed} == set(NAMED)
    for op, problem in posed:
        verify(problem.model)
        output = next(iter(evaluate(problem.model, problem.feeds[0]).values()))
        assert len(np.unique(output[np.isfinite(output)])) > 1 or op == "IsNaN", op


@pytest.mark.parametrize("seed", ["one", "other"])
def test_problems_are_the_same_every_time(seed):
    first, second = (dict(plain_problems(TABLE, seed=seed)) for _ in range(2))
    assert [p.model.digest() for p in first.values()] == [p.model.digest() for p in second.values()]
    for one, same in zip(first.values(), second.values(), strict=True):
        for name, array in one.feeds[0].items():
            np.testing.assert_array_equal(array, same.feeds[0][name])


@pytest.mark.parametrize("op", ["Conv", "Gemm", "Add"])
def test_saturation_reaches_both_ends(op):
    rule = OpRule(op, U8, U8, None if op == "Add" else CHANNEL)
    codes = codes_of(rule, "saturation")
    assert codes.min() == 0
    assert codes.max() == 255
    assert len(np.unique(codes)) > 10


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
@pytest.mark.parametrize("policy", ["rounding_ties", "integer_ties"])
@pytest.mark.parametrize("rounding", [Rounding.HALF_AWAY, Rounding.HALF_UP])
def test_ties_tell_roundings_apart(op, policy, rounding):
    rule = OpRule(op, U8, U8, CHANNEL, None if op == "MatMul" else DType.INT32)
    even, declared = (codes_of(rule, policy, e) for e in (Expectations(), Expectations(rounding=rounding)))
    difference = declared.astype(int) - even.astype(int)
    assert set(np.unique(difference)) == ({-1, 0, 1} if rounding is Rounding.HALF_AWAY else {0, 1})


@pytest.mark.parametrize("policy", ["accumulator_16bit", "accumulator_negative"])
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul"])
def test_accumulators_overflow_16_bits(op, policy):
    rule = OpRule(op, U8, U8, CHANNEL)
    wide, narrow = (codes_of(rule, policy, Expectations(accumulator_bits=bits)) for bits in (32, 16))
    assert (wide != narrow).all()


def test_outputs_carry_information():
    """A case whose expected output is one code throughout could hardly fail."""
    dull = []
    for name, problem in plain_problems(reference_table(TARGET)):
        for output in expected_outputs(problem, Expectations())[0].values():
            if output.size > 1 and len(np.unique(output.astype(np.float64))) < 2:
                dull.append(name)
    assert dull == []


def test_every_scheme_of_the_table_is_converted_both_ways():
    rules = {(rule.op, types) for rule, types in labelled_rules(table(OpRule("Relu", U8, U8)))}
    assert rules == {
        ("Relu", "uint8-uint8"),
        ("QuantizeLinear", "float32-uint8"),
        ("DequantizeLinear", "uint8-float32"),
    }


def test_any_float_brings_every_op_the_kit_knows():
    ops = {rule.op for rule, _ in labelled_rules(table(any_float=True))}
    assert ops == set(FAMILIES) - {"QuantizeLinear", "DequantizeLinear"}


def test_equal_labels_are_told_apart():
    rules = (OpRule("Relu", U8, U8, limits=(Limit("rank", maximum=rank),)) for rank in (2, 4))
    labels = [types for rule, types in labelled_rules(table(*rules)) if rule.op == "Relu"]
    assert labels == ["uint8-uint8", "uint8-uint8~2"]


def test_an_unknown_op_is_a_skip_with_its_reason():
    ids = [case.id for case in cases(table(OpRule("npu::Snore", U8, U8)))]
    assert "numerics/npu::Snore/uint8-uint8/unknown_op" in ids


def test_limits_are_probed_from_both_sides():
    limits = (
        Limit("attr:strides", 1, 3, default=1),
        Limit("attr:auto_pad", allowed=("NOTSET", "VALID"), default="NOTSET"),
        Limit("dim:0", maximum=1),
        Limit("static"),
    )
    ids = [case.id.split("/")[-1] for case in limit_cases(table(OpRule("Conv", U8, U8, CHANNEL, limits=limits)))]
    assert ids == [
        *("attr:strides=1_inside", "attr:strides=0_outside", "attr:strides=3_inside", "attr:strides=4_outside"),
        *("attr:auto_pad=NOTSET_inside", "attr:auto_pad=VALID_inside", "attr:auto_pad=SAME_UPPER_outside"),
        *("dim:0=1_inside", "dim:0=2_outside", "static_outside"),
    ]
