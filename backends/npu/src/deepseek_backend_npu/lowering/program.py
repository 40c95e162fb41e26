"""A lowered part: the NPU's graph, and the conversions that the host does at its borders."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepseek_backend_npu.tosa import DType, Graph
from deepseek_core import QParams, TensorInfo
from deepseek_core.lowering import Order

__all__ = ["Border", "HostStep", "Lowered"]


@dataclass(frozen=True, slots=True)
class HostStep:
    """A conversion between float and codes, at the border: the NPU itself has no floating point.

    Attributes:
        quantizes: from float to codes, or back.
        source, result: names of host values.
        qparams: the numbers.
    """

    quantizes: bool
    source: str
    result: str
    qparams: QParams


@dataclass(frozen=True, slots=True)
class Border:
    """A tensor that host and NPU exchange.

    Attributes:
        name: the host value with these codes.
        dtype: element type.
        shape: of the NPU's tensor.
        order: how its axes lie in the host's.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    order: Order


@dataclass(slots=True)
class Lowered:
    """What runs where.

    Attributes:
        graph: operators of the NPU; none for a part of border conversions only.
        feeds, results: the graph's inputs and outputs, in its order.
        before, after: the host's conversions on either side, in order.
        inputs, outputs: the part's own.
    """

    graph: Graph
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    feeds: list[Border] = field(default_factory=list)
    results: list[Border] = field(default_factory=list)
    before: list[HostStep] = field(default_factory=list)
    after: list[HostStep] = field(default_factory=list)
