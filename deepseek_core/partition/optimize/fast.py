"""The fast solver: labellings of simpler problems, judged and polished under the true objective."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.atoms import contractions
from deepseek_core.partition.optimize.evaluate import Plan
from deepseek_core.partition.optimize.labelling import Labelling
from deepseek_core.partition.optimize.multilevel import improve, starts
from deepseek_core.partition.optimize.policies import by_priority
from deepseek_core.partition.optimize.polish import Judge, polish, polish_again, polish_patiently
from deepseek_core.partition.optimize.problem import Objective, PartitionProblem
from deepseek_core.partition.optimize.schedule import earliest_finish

__all__ = ["fast_plan"]

Labels = NDArray[np.int64]

_LARGE = 4_000
_POLISHED = 4
_KICKS = 15


def fast_plan(problem: PartitionProblem, objective: Objective) -> Plan | None:
    """The best plan found; None when none that keeps to the limits was found."""
    best: tuple[float, Plan] | None = None
    for contracted in contractions(problem):
        smaller = contracted.problem
        small = smaller.size <= 64
        judge = Judge(smaller, objective)
        judged = [judge(labels) for labels in _candidates(smaller, objective)]
        judged.sort(key=lambda entry: entry[:2])
        different = list({entry[2].devices.tobytes(): entry for entry in judged}.values())
        polished = [polish(judge, entry) for entry in different[:_POLISHED]] + judged[:1]
        best_found = polish_again(judge, min(polished, key=lambda e: e[:2]), _KICKS if small else 0)
        excess, value, plan = polish_patiently(judge, best_found)
        if not excess and (best is None or value < best[0]):
            best = value, contracted.expand(plan)
    return None if best is None else best[1]


def _candidates(problem: PartitionProblem, objective: Objective) -> Iterator[Labels]:
    large = problem.size > _LARGE
    yield by_priority(problem)
    if objective is Objective.LATENCY:
        yield earliest_finish(problem)
    found = None
    for share in (0.5,) if large else (0.5, 0.0, 1.0):
        labelling = Labelling.of(problem, share)
        begin = starts(labelling)
        for labels in begin[:1] if large else begin:
            found = improve(labelling, labels)
            yield found
        yield from begin[2:] if share == 0.5 else ()
    if objective in (Objective.THROUGHPUT, Objective.LATENCY) and found is not None:
        yield from _balanced(problem, found, steps=3 if large else 24)


def _balanced(problem: PartitionProblem, labels: Labels, steps: int) -> Iterator[Labels]:
    """Labellings at prices that rise on busy devices, towards equal load (see `bounds.load_bound`)."""
    devices = len(problem.launch)
    prices, rows = np.full(devices, 1.0), np.arange(problem.size)
    for step in range(steps):
        load = np.bincount(labels, problem.allowed[rows, labels], devices)
        if load.max() <= 0:
            return
        prices = prices * np.exp(load / load.max() / np.sqrt(1 + step))
        prices /= prices.mean()
        scaled = Labelling.of(problem, 0.5 / devices, prices)
        labels = improve(scaled, labels, cycles=1)
        yield labels
