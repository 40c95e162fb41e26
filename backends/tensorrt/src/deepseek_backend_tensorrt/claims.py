"""Claims: what the capability table accepts, less what TensorRT's parser has no word for."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_tensorrt.capabilities import capabilities
from deepseek_backend_tensorrt.operators import OPERATORS
from deepseek_core import Claim, QuantizedModel, Target, Unit
from deepseek_core.partition import claim_each, refusal_reason

__all__ = ["claim", "problem"]

_TYPES = frozenset(
    ("float32", "float16", "bfloat16", "int8", "int32", "int64", "bool", "uint8", "float8_e4m3fn", "int4")
)


def claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> list[Claim]:
    """A claim on each unit that TensorRT takes, a reason for each that it does not."""
    return claim_each(model, target, refuse, lambda unit: problem(unit, target))


def problem(unit: Unit, target: Target) -> str | None:
    """Why the target does not run a unit; None when it does."""
    reason = refusal_reason(unit, capabilities(target))
    if reason is not None:
        return reason
    for node in unit.nodes:
        if node.op_type not in OPERATORS:
            return f"TensorRT's parser has no {node.op_type}"
    for operand in (*unit.inputs, *unit.outputs):
        if operand is None:
            continue
        kind = operand.value.dtype
        if kind is not None and _name(kind) not in _TYPES:
            return f"'{operand.value.name}' holds {_name(kind)}, which TensorRT does not have"
    return None


def _name(kind: object) -> str:
    import onnx_ir as ir

    assert isinstance(kind, ir.DataType)
    return "object" if kind is ir.DataType.STRING else str(kind.numpy())
