"""Ops that move values, or keep their order: the codes go through as they are, with the same scale on both sides."""

from __future__ import annotations

import numpy as np

from deepseek_backend_cpu.lowering.emitter import Emitter
from deepseek_backend_cpu.lowering.kernel import IntegerKernel
from deepseek_backend_cpu.lowering.operands import clip_codes, known_params, real_constant, same_codes
from deepseek_core import Role, Unit

__all__ = ["KERNELS", "MOVES"]


def _same(unit: Unit) -> str | None:
    return None if same_codes(unit) else "its output has another scale or zero point than its input"


def _move(unit: Unit, emit: Emitter) -> None:
    """The same node on codes. Outputs that are not numbers (indices) keep their names and types."""
    data = {id(o.real): o.value for o in unit.operands(Role.DATA)}
    inputs = [None if o is None else data.get(id(o.real), o.value) for o in unit.inputs]
    outputs = emit.add(unit.node.op_type, inputs, unit.node.attributes, outputs=len(unit.node.outputs))
    replacement = dict(zip((id(v) for v in unit.node.outputs), outputs, strict=True))
    for operand in unit.outputs:
        emit.result(operand, replacement[id(operand.real)])


def _clip_problem(unit: Unit) -> str | None:
    output = unit.outputs[0].qparams
    if output is None or clip_codes(unit.node, output) is None:
        return "its bounds are computed at run time"
    return _same(unit)


def _clip(unit: Unit, emit: Emitter) -> None:
    (output,) = unit.outputs
    bounds = clip_codes(unit.node, known_params(output))
    assert bounds is not None
    emit.result(output, *emit.add("Clip", [unit.operands(Role.DATA)[0].value, *map(emit.constant, bounds)]))


def _pad_problem(unit: Unit) -> str | None:
    value = unit.inputs[2] if len(unit.inputs) > 2 else None
    if value is not None and not value.is_constant:
        return "its pad value is computed at run time"
    return _same(unit)


def _pad(unit: Unit, emit: Emitter) -> None:
    (output,) = unit.outputs
    inputs = [None if o is None else o.value for o in (*unit.inputs, None, None, None)][:4]
    inputs[0] = unit.operands(Role.DATA)[0].value
    value = unit.inputs[2] if len(unit.inputs) > 2 else None
    real = np.zeros((), np.float32) if value is None else real_constant(value).reshape(())
    inputs[2] = emit.constant(known_params(output).quantize(real))
    while inputs[-1] is None:
        inputs.pop()
    emit.result(output, *emit.add("Pad", inputs, unit.node.attributes))


MOVES = frozenset(
    [
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "MaxPool",
        "Reshape",
        "Resize",
        "ReverseSequence",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
)
"""Ops whose ONNX Runtime kernels take 8-bit integers."""

KERNELS = {
    **dict.fromkeys(MOVES, IntegerKernel(_move, _same)),
    "Clip": IntegerKernel(_clip, _clip_problem),
    "Relu": IntegerKernel(_clip, _clip_problem),
    "Pad": IntegerKernel(_pad, _pad_problem),
}
