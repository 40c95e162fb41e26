"""Claims: what the capability table accepts, less the operators that nobody implements on NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import op_key
from deepseek_core.ir.units import Unit, subgraphs
from deepseek_core.partition import refusal_reason
from deepseek_core.placement import Claim
from deepseek_core.reference.capabilities import capabilities
from deepseek_core.reference.control_flow import CONTROL
from deepseek_core.reference.ops import bind
from deepseek_core.target import Target

__all__ = ["claim"]


def claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> list[Claim]:
    """A claim on each unit that runs, a reason for each that does not."""
    table, opsets = capabilities(target), model.model.opset_imports
    claimed = []
    for unit in model.units():
        reason = refusal_reason(unit, table) or _unimplemented(unit.nodes, opsets)
        if reason is None:
            claimed.append(Claim(target, (unit.name,)))
        else:
            refuse(unit, reason)
    return claimed


def _unimplemented(nodes: tuple[ir.Node, ...], opsets: Mapping[str, int]) -> str | None:
    """Why one of the nodes, or of the nodes in their bodies, cannot run; None when all can."""
    for node in nodes:
        for body in subgraphs(node):
            reason = _unimplemented(tuple(body), opsets)
            if reason is not None:
                return reason
        try:
            if op_key(node) not in CONTROL:
                bind(node, opsets)
        except ModelError as error:
            return error.message
    return None
