"""Derive a recipe from capability tables: which units become quantized, and the scheme of each tensor.

Units that accumulate are what quantization is for. Others join when all their data comes from quantized
units, so that codes flow through; ops that only move values join when a quantized unit reads them. An output
that no quantized unit reads stays float where a rule allows it, which keeps the last layer's precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import Role, channel_axis
from deepseek_core.quantize.steps import Step, steps_of
from deepseek_core.recipe import CalibratorSpec, Recipe, TensorRecipe
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, OpRule

__all__ = ["derive_recipe"]

_OWN_RANGE = CalibratorSpec("minmax")
"""Constants are quantized over the range of their own values."""


def derive_recipe(
    model: QuantizedModel,
    tables: Sequence[Capabilities],
    calibrator: CalibratorSpec | None = None,
    *,
    keep_float: Mapping[str, str] | None = None,
    unit_tables: Mapping[str, Sequence[Capabilities]] | None = None,
) -> Recipe:
    """Recipe for a float model on the targets of `tables`.

    Args:
        model: prepared float model.
        tables: capability tables in order of preference; a unit takes the first that has a rule for it.
        calibrator: of every activation; default entropy.
        keep_float: name of a unit's compute node → why it stays in float.
        unit_tables: name of a unit's compute node → the tables that decide about it instead of `tables`.
    """
    steps = steps_of(model, tables, unit_tables)
    skipped = {step.name: step.reason for step in steps if not step.rules}
    skipped |= {step.name: keep_float[step.name] for step in steps if keep_float and step.name in keep_float}
    while True:
        chosen = _connected([s for s in steps if s.name not in skipped], skipped)
        draft = _Draft(chosen, calibrator or CalibratorSpec())
        if draft.conflict is None:
            return draft.recipe(skipped)
        step, reason = draft.conflict
        skipped[step.name] = reason


def _connected(steps: list[Step], skipped: dict[str, str]) -> list[Step]:
    """Drop steps that would quantize for nothing, until none is left to drop."""
    while True:
        made = {value: step for step in steps for value in step.outputs}
        read = {value for step in steps for value in step.data}
        for step in steps:
            if step.accumulates:
                continue
            if not step.data or any(value not in made for value in step.data):
                skipped[step.name] = "its input is float"
            elif _adds_bias(step, made):
                skipped[step.name] = "its constant is added to the unquantized sums of the unit before it"
            elif _is_unread(step, read):
                skipped[step.name] = "no quantized unit reads its output"
        left = [step for step in steps if step.name not in skipped]
        if len(left) == len(steps):
            return left
        steps = left


def _adds_bias(step: Step, made: dict[ir.Value, Step]) -> bool:
    """A bias that could not be fused: eight bits over its whole range would cost more than the float add."""
    constant = any(value.const_value is not None for _, value in step.inputs(Role.DATA))
    return constant and any(made[v].accumulates and _float_output(made[v]) is not None for v in step.data)


def _is_unread(step: Step, read: set[ir.Value]) -> bool:
    """Codes that only float readers see cost precision and win nothing."""
    return not any(value in read for value in step.outputs) and (step.moves_only or _float_output(step) is None)


def _float_output(step: Step) -> OpRule | None:
    return next((r for r in step.rules if not isinstance(r.output, QuantScheme)), None)


class _Draft:
    """One attempt; `conflict` names a step whose input already has another scheme."""

    def __init__(self, steps: list[Step], calibrator: CalibratorSpec) -> None:
        self._calibrator = calibrator
        self._activations: dict[ir.Value, QuantScheme] = {}
        self._shared: dict[ir.Value, ir.Value] = {}
        self._weights: dict[tuple[str, int], TensorRecipe] = {}
        self._biases: set[tuple[str, int]] = set()
        self.conflict: tuple[Step, str] | None = None
        read = {value for step in steps for value in step.data}
        for step in steps:
            rule = self._pick(step, read)
            if rule is None:
                self.conflict = (step, "a neighbour fixes another scheme for its input")
                return
            self._take(step, rule, read)

    def _pick(self, step: Step, read: set[ir.Value]) -> OpRule | None:
        """First rule that agrees with what is fixed, with a quantized output exactly where one is read."""
        wanted = any(value in read for value in step.outputs)
        agreeing = [rule for rule in step.rules if self._agrees(step, rule)]
        return next((r for r in agreeing if isinstance(r.output, QuantScheme) == wanted), next(iter(agreeing), None))

    def _agrees(self, step: Step, rule: OpRule) -> bool:
        if not isinstance(rule.activation, QuantScheme):  # weight-only rule: its input must still be float
            return all(value not in self._activations for value in step.data)
        return all(self._activations.get(value, rule.activation) == rule.activation for value in step.data)

    def _take(self, step: Step, rule: OpRule, read: set[ir.Value]) -> None:
        if isinstance(rule.activation, QuantScheme):
            self._take_inputs(step, rule.activation)
        if isinstance(rule.output, QuantScheme):
            self._take_outputs(step, rule.output, read)
        if isinstance(rule.weight, QuantScheme):
            for position, _ in step.inputs(Role.WEIGHT):
                self._weights[step.name, position] = TensorRecipe(_with_axis(rule.weight, step.unit.node), _OWN_RANGE)
        if rule.bias is DType.INT32:
            self._biases |= {(step.name, i) for i, value in step.inputs(Role.BIAS) if value.const_value is not None}

    def _take_inputs(self, step: Step, scheme: QuantScheme) -> None:
        for value in step.data:
            self._activations[value] = scheme
        for position, value in step.inputs(Role.DATA):
            if value.const_value is not None:
                self._weights[step.name, position] = TensorRecipe(scheme, _OWN_RANGE)

    def _take_outputs(self, step: Step, scheme: QuantScheme, read: set[ir.Value]) -> None:
        for value in step.outputs:
            if step.moves_only:
                self._shared[value] = step.data[0]
                self._activations[value] = self._activations[step.data[0]]
            elif value in read or _float_output(step) is None:
                self._activations[value] = scheme

    def recipe(self, skipped: dict[str, str]) -> Recipe:
        names = {value: value.name or "" for value in self._activations}
        return Recipe(
            {
                names[v]: TensorRecipe(s, self._calibrator)
                for v, s in self._activations.items()
                if v not in self._shared
            },
            self._weights,
            frozenset(self._biases),
            {names[v]: names[source] for v, source in self._shared.items()},
            skipped,
        )


def _with_axis(scheme: QuantScheme, node: ir.Node) -> QuantScheme:
    """A table's scheme with `axis=None` resolved: the output channels, or for blocks the axis summed over."""
    if scheme.granularity is Granularity.PER_TENSOR or scheme.axis is not None:
        return scheme
    axis = channel_axis(node)
    if scheme.granularity is Granularity.PER_BLOCK:
        axis = 1 - axis if axis in (0, 1) else axis - 1
    return QuantScheme(scheme.dtype, scheme.granularity, scheme.symmetric, scheme.narrow_range, axis, scheme.block_size)
