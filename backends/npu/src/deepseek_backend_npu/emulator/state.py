"""What a run changes: memory, tables, chained feature maps, and what is outstanding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from deepseek_backend_npu.emulator.hazards import Ordering
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.shram import Tables

__all__ = ["State"]


@dataclass(slots=True)
class State:
    """The machine in the middle of a run.

    Attributes:
        memory: all regions.
        tables: lookup tables.
        ordering: outstanding transfers and operations.
        chains: feature maps between chained operations, by number of their buffer (Ethos-U85).
    """

    memory: Memory
    tables: Tables
    ordering: Ordering
    chains: dict[int, NDArray[Any]] = field(default_factory=dict)
