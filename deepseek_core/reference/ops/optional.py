"""Optional, OptionalHasElement and OptionalGetElement: an optional is its element, or None when empty.

onnx.reference wraps the element of a non-empty optional in a list, which then cannot be told from a sequence.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.reference.values import Array, Value

__all__ = ["optional", "optional_get_element", "optional_has_element"]


def optional(node: ir.Node, element: Value = None) -> tuple[Value, ...]:
    """Optional-15: an optional that holds `element`, or an empty one."""
    return (element,)


def optional_has_element(node: ir.Node, value: Value = None) -> Array:
    """OptionalHasElement-18: bool scalar."""
    return np.asarray(value is not None)


def optional_get_element(node: ir.Node, value: Value) -> tuple[Value, ...]:
    """OptionalGetElement-18: the element; a value that is no optional is its own element."""
    if value is None:
        raise ModelError(
            f"node '{node.name}' (OptionalGetElement) reads an empty optional", fix="test it with OptionalHasElement"
        )
    return (value,)
