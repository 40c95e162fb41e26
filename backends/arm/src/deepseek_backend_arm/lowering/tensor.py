"""A value of the graph as it lies in memory."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_backend_arm.plan.program import Memory
from deepseek_core.lowering import Layout

__all__ = ["SIZES", "Tensor"]

SIZES = {"float32": 4, "int8": 1, "uint8": 1, "int32": 4, "int64": 8, "bool": 1, "float16": 2}
"""Bytes of an element, by the names that tensors use."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(Layout):
    """A value in memory.

    Attributes:
        memory: where it lies.
    """

    memory: Memory
