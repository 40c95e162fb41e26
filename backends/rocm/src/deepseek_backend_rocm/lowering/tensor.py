"""A value of the graph as it lies in memory."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_backend_rocm.plan.steps import Memory
from deepseek_core.lowering import Layout

__all__ = ["Tensor"]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(Layout):
    """A value in memory; its element type is a name in `program.SIZES`.

    Attributes:
        memory: where it lies.
    """

    memory: Memory
