"""One unit compiled alone, for its estimated cost."""

from __future__ import annotations

import functools
from dataclasses import replace

import onnx_ir as ir

from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.lowering import lower
from deepseek_backend_npu.lowering.fusion import kept_apart
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.tosa.serialize import serialize
from deepseek_backend_npu.vela import Estimate, compile_graph
from deepseek_core import QuantizedModel, Unit
from deepseek_core.errors import DeepseekError
from deepseek_core.selection import unit_signature

__all__ = ["estimate", "unit_model"]

_IR_VERSION = 10
_MOST = 4096


def unit_model(unit: Unit) -> QuantizedModel:
    """A model of one unit, constants and all."""
    graph = unit.node.graph
    assert graph is not None
    inputs = list(dict.fromkeys(o.value for o in unit.inputs if o is not None and not o.is_constant))
    outputs = list(dict.fromkeys(o.value for o in unit.outputs))
    used = (value for node in unit.nodes for value in node.inputs)
    constants = dict.fromkeys(value for value in used if value is not None and value.const_value is not None)
    view = ir.GraphView(
        inputs, outputs, nodes=unit.nodes, initializers=list(constants), opset_imports=graph.opset_imports, name="unit"
    )
    return QuantizedModel(ir.Model(view.clone(), ir_version=_IR_VERSION))


def estimate(unit: Unit, device: str, optimize: str) -> Estimate | None:
    """The compiler's figures for a unit alone; None where nothing of it runs on the NPU, or it does not compile.

    Units with the same signature have the same figures, whatever their weights compress to.
    """
    key = (unit_signature(unit), device, optimize)
    if key not in _known():
        if len(_known()) >= _MOST:
            _known().clear()
        _known()[key] = _compiled(unit, device, optimize)
    return _known()[key]


@functools.cache
def _known() -> dict[tuple[str, str, str], Estimate | None]:
    return {}


def _compiled(unit: Unit, device: str, optimize: str) -> Estimate | None:
    variant = DEVICES[device]
    settings = replace(Settings.read({}, variant).default(), optimize=optimize)
    try:
        lowered = lower(unit_model(unit))
        if not lowered.graph.outputs:
            return None
        return compile_graph(serialize(kept_apart(lowered.graph, variant)), variant, settings).estimate
    except DeepseekError:
        return None
