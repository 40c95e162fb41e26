"""Exact placement: a mixed-integer program over parts, solved with HiGHS.

Parts are numbered slots in execution order; every slot has at most one device, and a unit is in one slot. A unit
reads only from its own slot and earlier ones, so no cycle can run through parts. What a transfer costs is a flow
between the device of its producer and that of its reader (the local polytope of the pairwise model: Wainwright
and Jordan, Foundations and Trends in Machine Learning 1, 2008, section 4), shared by the readers on one device.

The number of slots grows until no placement with more parts can be better than the best one found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.evaluate import Plan
from deepseek_core.partition.optimize.highs import Answer, Program
from deepseek_core.partition.optimize.problem import Objective, PartitionProblem

__all__ = ["relaxed", "with_slots"]

Columns = NDArray[np.int64]


class _Shared:
    """Variables and rows that every formulation has: who is where, and what moves."""

    def __init__(self, problem: PartitionProblem, *, integer: bool) -> None:
        self.problem, self.program = problem, Program()
        units, devices = problem.cost.shape
        allowed = np.isfinite(problem.allowed)
        self.at = self.program.variables((units, devices), upper=allowed.astype(float), integer=integer)
        self.program.rows((self.at, 1.0), lower=1.0, upper=1.0)
        self.flow = self._flows()
        self.moved = self._moves()
        if problem.memory is not None and problem.footprint is not None:
            limited = np.flatnonzero(np.isfinite(problem.memory))
            if limited.size:
                self.program.rows((self.at.T[limited], problem.footprint), upper=problem.memory[limited])

    def _flows(self) -> Columns:
        """[pins, devices, devices]: the producer is on the row's device and the reader on the column's."""
        tensors, devices = self.problem.tensors, len(self.problem.launch)
        flow = self.program.variables((len(tensors.reader), devices, devices), upper=1.0)
        if flow.size:
            for axis, ends in ((2, tensors.source), (1, tensors.reader)):
                rows = flow if axis == 2 else flow.transpose(0, 2, 1)
                self.program.rows(
                    (rows.reshape(-1, devices), 1.0), (self.at[ends].reshape(-1), -1.0), lower=0.0, upper=0.0
                )
        return flow

    def _moves(self) -> Columns:
        """[tensors, devices, devices]: the tensor goes from the row's device to the column's."""
        tensors, devices = self.problem.tensors, len(self.problem.launch)
        moved = self.program.variables((len(tensors), devices, devices))
        if self.flow.size:
            mine = moved[tensors.tensor].reshape(-1)
            self.program.rows((mine, 1.0), (self.flow.reshape(-1), -1.0), lower=0.0)
        return moved

    @property
    def unit_cost(self) -> NDArray[np.float64]:
        return np.where(np.isfinite(self.problem.cost), self.problem.cost, 0.0)

    def charge(self, columns: list[Columns], prices: list[NDArray[np.float64]]) -> None:
        """Minimise the sum of columns × prices."""
        total = self.program.variables((1,), cost=1.0)
        terms = [(c.reshape(1, -1), p.reshape(1, -1)) for c, p in zip(columns, prices, strict=True) if c.size]
        self.program.rows((total, 1.0), *((c, -p) for c, p in terms), lower=0.0)

    def share_work(self, goal: Columns, launched: Columns) -> None:
        """No device works longer than `goal`; it launches the sum of its row of `launched` [devices, k]."""
        launch = np.repeat(self.problem.launch[:, None], launched.shape[1], axis=1)
        self.program.rows(
            (np.repeat(goal, len(launch)), 1.0), (self.at.T, -self.unit_cost.T), (launched, -launch), lower=0.0
        )

    def share_links(self, goal: Columns) -> None:
        """No link works longer than `goal`."""
        moved = self.moved.reshape(-1, len(self.problem.launch) ** 2).T
        prices = self.problem.transfer.reshape(-1, len(self.problem.launch) ** 2).T
        if moved.size:
            self.program.rows((np.repeat(goal, len(moved)), 1.0), (moved, -prices), lower=0.0)

    def follow_paths(self, goal: Columns, cost: NDArray[np.float64] | float, delay: NDArray[np.float64]) -> None:
        """No path takes longer than `goal`: its units' `cost`, its tensors' `delay`, a launch for each run."""
        problem, program, tensors = self.problem, self.program, self.problem.tensors
        units, devices = problem.cost.shape
        spent = np.broadcast_to(cost, (units, devices)) + problem.launch
        until = program.variables((units,))
        program.rows((until, 1.0), (self.at, -spent), lower=0.0)
        program.rows((np.repeat(goal, units), 1.0), (until, -1.0), lower=0.0)
        stays = np.eye(devices) * problem.launch
        between = (self.flow.reshape(-1, devices**2), (stays - delay[tensors.tensor]).reshape(-1, devices**2))
        here = (self.at[tensors.reader], -spent[tensors.reader])
        program.rows((until[tensors.reader], 1.0), (until[tensors.source], -1.0), here, between, lower=0.0)


def relaxed(
    problem: PartitionProblem, objective: Objective, *, integer: bool = True, seconds: float
) -> tuple[Answer, Columns]:
    """The problem without parts, with no more launches than any parts would need.

    Of launches, one for each device in use is left, and along a path one for each run of a device: on a path every
    run is another part. For LATENCY, devices are only asked not to work longer than the makespan, and paths not to
    take longer. With `integer`, an exact solution of that; without, its linear relaxation. Either bounds the true
    optimum from below; the columns [units, devices] of the answer are who is where.
    """
    shared = _Shared(problem, integer=integer)
    used = shared.program.variables((len(problem.launch),), upper=1.0)
    shared.program.rows((np.tile(used, problem.size), 1.0), (shared.at.reshape(-1), -1.0), lower=0.0)
    for group in problem.groups:
        kept = shared.at if group.device is None else shared.at[:, [group.device]]
        first, rest = kept[group.units[0]], kept[list(group.units[1:])]
        for other in rest:
            shared.program.rows((first, 1.0), (other, -1.0), lower=0.0, upper=0.0)
    if objective is Objective.ADDITIVE:
        total = shared.program.variables((1,))
        shared.program.rows((total, 1.0), (used[None], -problem.launch), lower=0.0)
        shared.follow_paths(total, 0.0, np.zeros_like(problem.transfer))
        shared.charge([shared.at, total, shared.moved], [shared.unit_cost, np.ones(1), problem.transfer])
        return shared.program.solve(seconds), shared.at
    goal = shared.program.variables((1,), cost=1.0)
    shared.share_work(goal, used[:, None])
    if objective is Objective.THROUGHPUT:
        shared.share_links(goal)
    else:
        shared.follow_paths(goal, shared.unit_cost, problem.transfer)
    return shared.program.solve(seconds), shared.at


def with_slots(
    problem: PartitionProblem, objective: Objective, slots: int, *, seconds: float, ceiling: float
) -> tuple[Answer, Plan | None]:
    """The best placement with at most `slots` parts.

    Args:
        objective: ENERGY is asked as ADDITIVE of `problem.as_energy()`.
        ceiling: value of a known placement, in which no better one can have a later end.
    """
    model = _Slots(problem, slots)
    match objective:
        case Objective.LATENCY:
            model.minimise_makespan(ceiling)
        case Objective.THROUGHPUT:
            model.minimise_bottleneck()
        case _:
            shared = model.shared
            launches = np.broadcast_to(problem.launch, model.open.shape)
            shared.charge([shared.at, model.open, shared.moved], [shared.unit_cost, launches, problem.transfer])
            if slots > 1:
                model.program.rows((model.open[1:].reshape(-1), 1.0), (model.open[:-1].reshape(-1), 1.0), upper=1.0)
    answer = model.program.solve(seconds)
    return answer, None if answer.values is None else model.plan(answer.values)


class _Slots:
    """Units in numbered slots."""

    def __init__(self, problem: PartitionProblem, slots: int) -> None:
        self.problem, self.slots = problem, slots
        self.shared = _Shared(problem, integer=False)
        self.program = self.shared.program
        units, devices = problem.cost.shape
        allowed = np.isfinite(problem.allowed).astype(float)[:, None, :]
        self.place = self.program.variables((units, slots, devices), upper=allowed, integer=True)
        self.open = self.program.variables((slots, devices), upper=1.0, integer=True)
        self.inside = self.place.reshape(units, -1)
        columns = self.place.transpose(0, 2, 1).reshape(-1, slots)
        self.program.rows((columns, 1.0), (self.shared.at.reshape(-1), -1.0), lower=0.0, upper=0.0)
        self.program.rows((self.place.reshape(-1), 1.0), (np.tile(self.open.reshape(-1), units), -1.0), upper=0.0)
        self.program.rows((self.open, 1.0), upper=1.0)
        if slots > 1:  # open slots come first
            self.program.rows((self.open[1:], 1.0), (self.open[:-1], -1.0), upper=0.0)
        self._order()
        self._groups()

    def _order(self) -> None:
        """Whoever is in one of the first slots has all it reads there."""
        tensors, devices = self.problem.tensors, len(self.problem.launch)
        pairs = np.unique(np.stack((tensors.source, tensors.reader)), axis=1)
        for last in range(1, self.slots):
            before = self.place[pairs[0], :last].reshape(-1, last * devices)
            after = self.place[pairs[1], :last].reshape(-1, last * devices)
            if before.size:
                self.program.rows((after, 1.0), (before, -1.0), upper=0.0)

    def _groups(self) -> None:
        for group in self.problem.groups:
            kept = self.place if group.device is None else self.place[:, :, [group.device]]
            first = kept[group.units[0]].reshape(-1)
            for other in group.units[1:]:
                self.program.rows((first, 1.0), (kept[other].reshape(-1), -1.0), lower=0.0, upper=0.0)

    def minimise_bottleneck(self) -> None:
        goal = self.program.variables((1,), cost=1.0)
        self.shared.share_work(goal, self.open.T)
        self.shared.share_links(goal)

    def minimise_makespan(self, ceiling: float) -> None:
        goal = self.program.variables((1,), cost=1.0)
        self.shared.share_work(goal, self.open.T)
        self.shared.follow_paths(goal, self.shared.unit_cost, self.problem.transfer)
        start = self.program.variables((self.slots,), upper=ceiling)
        self._durations(start, goal)
        self._devices_take_turns(start, ceiling)
        self._transfers_arrive(start, goal, ceiling)

    def _durations(self, start: Columns, goal: Columns) -> None:
        """`end`: columns and prices whose sum is when each slot ends."""
        units, slots, devices = self.place.shape
        work = self.place.transpose(1, 0, 2).reshape(slots, units * devices)
        prices = np.broadcast_to(self.shared.unit_cost.reshape(-1), work.shape)
        launches = np.broadcast_to(self.problem.launch, self.open.shape)
        self.end = self.program.variables((slots,))
        self.program.rows((self.end, 1.0), (start, -1.0), (work, -prices), (self.open, -launches), lower=0.0, upper=0.0)
        self.program.rows((np.repeat(goal, slots), 1.0), (self.end, -1.0), lower=0.0)

    def _devices_take_turns(self, start: Columns, ceiling: float) -> None:
        later, earlier = np.tril_indices(self.slots, -1)
        for device in range(len(self.problem.launch)):
            if later.size:
                both = (self.open[later, device], -ceiling), (self.open[earlier, device], -ceiling)
                self.program.rows((start[later], 1.0), (self.end[earlier], -1.0), *both, lower=-2.0 * ceiling)

    def _transfers_arrive(self, start: Columns, goal: Columns, ceiling: float) -> None:
        """`done` of a unit is when its slot ends; a slot starts after what its units read from others arrives."""
        units, slots, devices = self.place.shape
        tensors, shared = self.problem.tensors, self.shared
        done = self.program.variables((units,))
        self.program.rows((np.repeat(goal, units), 1.0), (done, -1.0), lower=0.0)
        here = self.place.reshape(units * slots, devices)
        self.program.rows(
            (np.repeat(done, slots), 1.0), (np.tile(self.end, units), -1.0), (here, -ceiling), lower=-ceiling
        )
        pins = len(tensors.reader)
        if not pins:
            return
        delay = self.problem.transfer[tensors.tensor].reshape(pins, -1)
        flow = shared.flow.reshape(pins, -1)
        self.program.rows(  # a path takes at least its units and transfers
            (done[tensors.reader], 1.0), (done[tensors.source], -1.0), (flow, -delay), lower=0.0
        )
        self.program.rows((done, 1.0), (shared.at, -shared.unit_cost), lower=0.0)
        for slot in range(slots):
            reader, source = self.place[tensors.reader, slot], self.place[tensors.source, slot]
            self.program.rows(
                (np.repeat(start[slot], pins), 1.0),
                *((done[tensors.source], -1.0), (flow, -delay), (reader, -ceiling), (source, ceiling)),
                lower=-ceiling,
            )

    def plan(self, values: NDArray[np.float64]) -> Plan:
        chosen = values[self.inside].argmax(axis=1)
        slot, device = chosen // len(self.problem.launch), chosen % len(self.problem.launch)
        parts = (tuple(np.flatnonzero(slot == number).tolist()) for number in range(self.slots))
        return Plan(device.astype(np.int64), tuple(part for part in parts if part))
