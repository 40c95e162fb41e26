"""Compound cases: several units in one part, and units inside the bodies of control flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper

from deepseek_core.conformance.case import Case, Skipped
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.draft import plain_problems
from deepseek_core.conformance.graph import IR_VERSION, OPSET
from deepseek_core.conformance.numerics import solve_or_refuse
from deepseek_core.conformance.problem import Problem
from deepseek_core.ir import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.target import Capabilities

__all__ = ["compound_cases"]

_TRIPS = 3
_NO_SHAPE: tuple[int, ...] = ()

Build = Callable[[Context], Problem]


def compound_cases(capabilities: Capabilities) -> Iterator[Case]:
    """Several units at once, compiled as users compile; where the table has no control flow, it must be refused."""
    table: dict[str, tuple[str, Build]] = {
        "compound/side_by_side": ("independent units in one part", _side_by_side),
        "compound/chain": ("codes handed from unit to unit in one part", _chain),
        "control_flow/If": ("units in both branches, each taken once", _branches),
        "control_flow/Loop": ("a unit in a loop that carries its codes", _loop),
        "control_flow/Scan": ("a unit in a scan over slices", _scan),
    }
    for name, (probes, build) in table.items():
        yield Case(name, probes, _solved(build))


def _solved(build: Build) -> Callable[[Context], str | None]:
    return lambda context: solve_or_refuse(build(context), context, CompileOptions())


def _side_by_side(context: Context) -> Problem:
    first = context.sample
    second = _accepted(context, lambda problem: problem.op == first.op, seed="beside")
    left, right = _graph(first), _graph(second, "b_", inputs=True)
    nodes, initializers = [*left.node, *right.node], [*left.initializer, *right.initializer]
    outputs = [*left.output, *right.output]
    graph = helper.make_graph(nodes, "beside", [*left.input, *right.input], outputs, initializers)
    feeds = {**first.feeds[0], **{f"b_{name}": array for name, array in second.feeds[0].items()}}
    return _problem(graph, first.op, feeds)


def _chain(context: Context) -> Problem:
    step = _accepted(context, _keeps_type)
    _require_exact(context, step, "a chain")
    first, second = _graph(step), _graph(step, "b_")
    name = first.output[0].name
    for node in second.node:
        node.input[:] = [name if entry == _only_feed(step) else entry for entry in node.input]
    graph = helper.make_graph(
        [*first.node, *second.node], "chain", first.input, second.output, [*first.initializer, *second.initializer]
    )
    return _problem(graph, step.op, step.feeds[0])


def _branches(context: Context) -> Problem:
    then = context.sample
    other = _accepted(context, lambda problem: _interface(problem) == _interface(then), seed="else")
    taken, not_taken = _graph(then, "then_"), _graph(other, "else_")
    inputs = list(taken.input)
    for branch in (taken, not_taken):
        del branch.input[:]
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, [])
    outputs = [_renamed(value, f"y{i}") for i, value in enumerate(taken.output)]
    names = [value.name for value in outputs]
    node = helper.make_node("If", ["condition"], names, name="if", then_branch=taken, else_branch=not_taken)
    graph = helper.make_graph([node], "branches", [condition, *inputs], outputs)
    feeds = [{"condition": np.array(flag), **then.feeds[0]} for flag in (True, False)]
    return _problem(graph, then.op, *feeds)


def _loop(context: Context) -> Problem:
    step = _accepted(context, _keeps_type)
    trips = _TRIPS if context.expectations.tolerance(step.op).lsb == 0 else 1
    body = _graph(step, "body_")
    carried, result = body.input[0], body.output[0]
    inner = [
        helper.make_tensor_value_info("trip", TensorProto.INT64, _NO_SHAPE),
        helper.make_tensor_value_info("going", TensorProto.BOOL, _NO_SHAPE),
    ]
    block = helper.make_graph(body.node, "body", [*inner, carried], [inner[1], result], body.initializer)
    count = helper.make_tensor_value_info("trips", TensorProto.INT64, _NO_SHAPE)
    start = _renamed(carried, "start")
    node = helper.make_node("Loop", ["trips", "", "start"], ["y"], name="loop", body=block)
    graph = helper.make_graph([node], "loop", [count, start], [_renamed(result, "y")])
    return _problem(graph, step.op, {"trips": np.array(trips, np.int64), "start": _only_array(step)})


def _scan(context: Context) -> Problem:
    step = _accepted(context, lambda problem: len(problem.feeds[0]) == 1 and len(problem.model.outputs) == 1)
    body = _graph(step, "body_")
    block = helper.make_graph(body.node, "body", body.input, body.output, body.initializer)
    array = _only_array(step)
    slices = np.stack([np.roll(array, shift) for shift in range(_TRIPS)])
    sequence, result = _stacked(body.input[0], "sequence"), _stacked(body.output[0], "y")
    node = helper.make_node("Scan", ["sequence"], ["y"], name="scan", body=block, num_scan_inputs=1)
    graph = helper.make_graph([node], "scan", [sequence], [result])
    return _problem(graph, step.op, {"sequence": slices})


def _accepted(context: Context, fits: Callable[[Problem], bool], seed: str = "plain") -> Problem:
    for _, problem in plain_problems(context.capabilities, seed=seed):
        if not context.declared_refusals(problem.model) and fits(problem):
            return problem
    raise Skipped("the capability table accepts no unit of the form this case needs")


def _require_exact(context: Context, problem: Problem, what: str) -> None:
    if context.expectations.tolerance(problem.op).lsb:
        raise Skipped(f"the declared tolerance of {problem.op} adds up along {what}")


def _keeps_type(problem: Problem) -> bool:
    inputs, outputs = _interface(problem)
    return len(inputs) == 1 and inputs == outputs


def _interface(problem: Problem) -> tuple[list[object], list[object]]:
    return [(i.dtype, i.shape) for i in problem.model.inputs], [(o.dtype, o.shape) for o in problem.model.outputs]


def _graph(problem: Problem, prefix: str = "", *, inputs: bool = False) -> onnx.GraphProto:
    """The problem's graph, names under `prefix`; those of its inputs only with `inputs`."""
    graph = ir.to_proto(problem.model.model).graph
    return compose.add_prefix_graph(graph, prefix, rename_inputs=inputs) if prefix else graph


def _only_feed(problem: Problem) -> str:
    (name,) = problem.feeds[0]
    return name


def _only_array(problem: Problem) -> NDArray[Any]:
    return problem.feeds[0][_only_feed(problem)]


def _renamed(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    return copy


def _stacked(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    kind = value.type.tensor_type
    return helper.make_tensor_value_info(name, kind.elem_type, [_TRIPS, *(d.dim_value for d in kind.shape.dim)])


def _problem(graph: onnx.GraphProto, op: str, *feeds: Mapping[str, NDArray[Any]]) -> Problem:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return Problem(QuantizedModel(ir.from_proto(model)), feeds, op)
