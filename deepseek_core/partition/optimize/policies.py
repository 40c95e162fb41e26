"""What others do, from their documentation: yardsticks for the solvers.

OpenVINO's HETERO plugin (documentation of "Heterogeneous execution", automatic mode) gives every operation to the
first device of its priority list that supports it, and makes each connected set of one device a subgraph, cut
where a cycle would arise. ONNX Runtime (documentation of "Execution Providers" and the helper that most providers
form their partitions with) gives each provider in order of priority all nodes it can have, in maximal groups that
it fills while any supported node is ready. Neither weighs costs or transfers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.evaluate import Plan
from deepseek_core.partition.optimize.parts import form_parts
from deepseek_core.partition.optimize.problem import PartitionProblem

__all__ = ["by_priority", "hetero", "onnxruntime"]


def by_priority(problem: PartitionProblem) -> NDArray[np.int64]:
    """int64 [units]: the first device that takes each unit."""
    return np.asarray(np.isfinite(problem.allowed).argmax(axis=1))


def onnxruntime(problem: PartitionProblem) -> Plan:
    """Devices by priority; each part takes every unit of its device that is ready, connected or not."""
    devices = by_priority(problem)
    return Plan(devices, form_parts(problem, devices))


def hetero(problem: PartitionProblem) -> Plan:
    """Devices by priority; parts are connected, and split by how often a path to them changes device."""
    devices = by_priority(problem)
    homes, depth = devices.tolist(), [0] * problem.size
    for unit, before in enumerate(problem.predecessors):
        depth[unit] = max((depth[b] + (homes[b] != homes[unit]) for b in before), default=0)
    root = list(range(problem.size))

    def find(unit: int) -> int:
        while root[unit] != unit:
            root[unit] = root[root[unit]]
            unit = root[unit]
        return unit

    for unit, before in enumerate(problem.predecessors):
        for other in before:
            if homes[other] == homes[unit] and depth[other] == depth[unit]:
                root[find(unit)] = find(other)
    parts: dict[int, list[int]] = {}
    for unit in range(problem.size):
        parts.setdefault(find(unit), []).append(unit)
    ordered = sorted(parts.values(), key=lambda part: (depth[part[0]], part[0]))
    return Plan(devices, tuple(tuple(part) for part in ordered))
