"""Contract: claims are convex, agree with the table, and every refusal has a reason."""

from __future__ import annotations

from deepseek_core.conformance.case import Failed, Skipped
from deepseek_core.conformance.context import PLAIN, Context, refused
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.conformance.contract.models import any_scheme, foreign_model, sandwich_model
from deepseek_core.conformance.draft import plain_problems
from deepseek_core.ir import QuantizedModel

__all__ = ["CONTRACT"]

CONTRACT = Contract("claims")


@CONTRACT.case("unknown_op_refused", "an op nobody knows is refused, with a reason")
def _unknown_op(context: Context) -> None:
    refusals = context.refusals(foreign_model())
    if "foreign" not in refusals:
        raise Failed("an op of an unknown domain is claimed")


@CONTRACT.case("unknown_op_not_compiled", "compiling an op nobody knows ends in an error, not in an artifact")
def _unknown_op_compiled(context: Context) -> None:
    context.require_compiler()
    with refused("a model with an unknown op"):
        context.backend.compile(foreign_model(), context.target, PLAIN)


@CONTRACT.case("convex", "what lies between claimed units is claimed with them, or they are claimed apart")
def _convex(context: Context) -> None:
    model = sandwich_model(any_scheme(context.capabilities))
    refusals = context.refusals(model)
    if "foreign" not in refusals:
        raise Failed("an op of an unknown domain is claimed")
    if denied := sorted(set(refusals) - {"foreign"}):
        raise Failed(f"conversion '{denied[0]}' is refused, though the table has its type: {refusals[denied[0]]}")


@CONTRACT.case("newer_opset_refused", "a model with a newer opset than declared is refused")
def _newer_opset(context: Context) -> None:
    newest = context.capabilities.max_opset
    if newest is None:
        raise Skipped("the table bounds no opset: there is none to refuse")
    model = context.sample.model.clone()
    model.graph.opset_imports[""] = newest + 1
    _all_refused(context, model, f"opset {newest + 1}")


@CONTRACT.case("dynamic_shapes_refused", "symbolic shapes are refused by a target that does not declare them")
def _dynamic(context: Context) -> None:
    if context.capabilities.dynamic_shapes:
        raise Skipped("the table declares dynamic shapes: there are none to refuse")
    for _, problem in plain_problems(context.capabilities, symbolic=True):
        _all_refused(context, problem.model, "a symbolic shape")
        return
    raise Skipped("the table has no op with a batch axis")


@CONTRACT.case("model_unchanged", "claims, costs and kernels look at the model and leave it as it is")
def _unchanged(context: Context) -> None:
    model = context.sample.model.clone()
    before = model.digest()
    context.refusals(model)
    units = model.units()
    context.backend.cost(units, context.target)
    for unit in units:
        context.backend.kernels(unit, context.target)
    if model.digest() != before:
        raise Failed("the model differs after claims, costs and kernels were asked for")


def _all_refused(context: Context, model: QuantizedModel, what: str) -> None:
    refusals = context.refusals(model)
    if claimed := [unit.name for unit in model.units() if unit.name not in refusals]:
        raise Failed(f"unit '{claimed[0]}' is claimed in spite of {what}")
