"""A part in the form that QNN takes whole: codes at its borders.

Conversions at the border of the part are the host's, exact as the IR has them; QNN places none that has no node beside
it. Units are respelt where QNN knows them in one form only (see `spelling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_backend_npu.hexagon.spelling import respell
from deepseek_backend_npu.lowering import HostStep
from deepseek_core import QuantizedModel
from deepseek_core.errors import BackendError
from deepseek_core.ir import qparams_of

__all__ = ["VendorPart", "vendor_part"]

_IR_VERSION = 10
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True, slots=True)
class VendorPart:
    """What runs where.

    Attributes:
        model: serialized ONNX for QNN; empty for a part of border conversions only.
        feeds, results: names of its inputs and outputs, in order.
        before, after: the host's conversions.
    """

    model: bytes
    feeds: tuple[str, ...]
    results: tuple[str, ...]
    before: tuple[HostStep, ...]
    after: tuple[HostStep, ...]


def vendor_part(model: QuantizedModel) -> VendorPart:
    """The part for QNN, and the host's conversions around it; the model is left unchanged.

    Raises:
        BackendError: a conversion has a scale that is not constant.
    """
    model = model.clone()
    units = model.units()
    for unit in units:
        respell(unit)
    before = [u.node for u in units if u.op == _Q and u.node.inputs[0].is_graph_input()]  # type: ignore[union-attr]
    after = [u.node for u in units if u.op == _DQ and u.node.outputs[0].is_graph_output()]
    core = [node for node in model.graph if node not in {*before, *after}]
    feeds, results = _borders(core, model.graph.outputs, after)
    return VendorPart(
        _serialized(model, core, feeds, results) if core else b"",
        tuple(value.name or "" for value in feeds),
        tuple(value.name or "" for value in results),
        tuple(map(_host_step, before)),
        tuple(map(_host_step, after)),
    )


def _borders(
    core: list[ir.Node], outputs: Sequence[ir.Value], after: list[ir.Node]
) -> tuple[list[ir.Value], list[ir.Value]]:
    """Values that the nodes read from outside, and those that are read there."""
    made = {value for node in core for value in node.outputs}
    read = (value for node in core for value in node.inputs if value is not None and value.const_value is None)
    wanted = (*outputs, *(node.inputs[0] for node in after))
    feeds = list(dict.fromkeys(value for value in read if value not in made))
    return feeds, list(dict.fromkeys(value for value in wanted if value in made and value is not None))


def _serialized(model: QuantizedModel, core: list[ir.Node], feeds: list[ir.Value], results: list[ir.Value]) -> bytes:
    used = {value for node in core for value in node.inputs if value is not None and value.const_value is not None}
    view = ir.GraphView(
        feeds, results, nodes=core, initializers=sorted(used, key=_name), opset_imports=model.graph.opset_imports
    )
    whole = ir.Model(view.clone(), ir_version=_IR_VERSION)
    whole.graph.name = "part"
    return bytes(ir.to_proto(whole).SerializeToString(deterministic=True))


def _name(value: ir.Value) -> str:
    return value.name or ""


def _host_step(node: ir.Node) -> HostStep:
    qparams = qparams_of(node)
    if qparams is None:
        raise BackendError(f"'{node.name}' has a scale that is not constant", fix="place it on another target")
    (source,) = node.inputs[:1]
    assert source is not None
    return HostStep(node.op_type == _Q, _name(source), _name(node.outputs[0]), qparams)
