"""A thin way to HiGHS: blocks of variables and rows as arrays, solved in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepseek_core.errors import PlacementError

__all__ = ["Answer", "Program"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What HiGHS found.

    Attributes:
        values: float64 [variables]; None when no solution was found in time.
        bound: proven lower bound on the objective; inf when nothing is feasible.
        optimal: whether `values` is proven optimal.
    """

    values: Array | None
    bound: float
    optimal: bool


class Program:
    """A linear program with integer variables, minimised."""

    def __init__(self) -> None:
        self._cost: list[Array] = []
        self._lower: list[Array] = []
        self._upper: list[Array] = []
        self._integer: list[Array] = []
        self._rows: list[tuple[Array, Array, Array]] = []
        self._row_lower: list[Array] = []
        self._row_upper: list[Array] = []
        self._columns = 0
        self._count = 0

    def variables(
        self, shape: tuple[int, ...], *, cost: ArrayLike = 0.0, upper: ArrayLike = np.inf, integer: bool = False
    ) -> NDArray[np.int64]:
        """A block of variables from 0 to `upper`; their columns in the given shape."""
        size = int(np.prod(shape))
        for store, values in ((self._cost, cost), (self._lower, 0.0), (self._upper, upper), (self._integer, integer)):
            store.append(np.broadcast_to(np.asarray(values), shape).reshape(size))
        self._columns += size
        return np.arange(self._columns - size, self._columns).reshape(shape)

    def rows(self, *terms: tuple[Array, ArrayLike], lower: ArrayLike = -np.inf, upper: ArrayLike = np.inf) -> None:
        """Rows `lower ≤ Σ terms ≤ upper`.

        Args:
            terms: `(columns [rows] or [rows, k], coefficients)`; coefficients broadcast to the columns.
        """
        count = len(terms[0][0])
        if not count:
            return
        row = np.arange(self._count, self._count + count)
        for columns, coefficients in terms:
            block = columns.reshape(count, -1)
            values = np.broadcast_to(np.asarray(coefficients, float), columns.shape).reshape(block.shape)
            self._rows.append((np.repeat(row, block.shape[1]), block.ravel(), values.ravel()))
        self._row_lower.append(np.broadcast_to(np.asarray(lower, float), (count,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, float), (count,)))
        self._count += count

    def solve(self, seconds: float, *, simplex: bool = False) -> Answer:
        """Minimise within a time limit.

        Raises:
            PlacementError: HiGHS is not installed.
        """
        solver = self._loaded()
        solver.setOptionValue("time_limit", float(seconds))
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("mip_rel_gap", 0.0)
        solver.setOptionValue("mip_abs_gap", 0.0)
        if simplex:
            solver.setOptionValue("solver", "simplex")
        solver.run()
        import highspy

        status, info = solver.getModelStatus(), solver.getInfo()
        if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
            return Answer(None, np.inf, True)
        optimal = status == highspy.HighsModelStatus.kOptimal
        mixed = any(block.any() for block in self._integer)
        bound = info.mip_dual_bound if mixed else info.objective_function_value if optimal else -np.inf
        found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        values = np.array(solver.getSolution().col_value) if found else None
        return Answer(values, float(bound), optimal)

    def _loaded(self) -> Any:
        try:
            import highspy
            from highspy._core import _Highs  # highspy.Highs prints a banner when it is made
        except ImportError as error:
            raise PlacementError(f"HiGHS cannot be imported ({error})", fix="pip install highspy") from error
        solver: Any = _Highs()
        solver.setOptionValue("output_flag", False)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self._columns, self._count
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = (_joined(b) for b in (self._cost, self._lower, self._upper))
        lp.row_lower_, lp.row_upper_ = _joined(self._row_lower), _joined(self._row_upper)
        row, column, value = (np.concatenate(blocks) for blocks in zip(*self._rows, strict=True))
        order = np.argsort(row, kind="stable")
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(row[order], np.arange(self._count + 1)).astype(np.int32)
        lp.a_matrix_.index_ = column[order].astype(np.int32)
        lp.a_matrix_.value_ = value[order]
        integer = np.concatenate(self._integer)
        if integer.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[int(flag)] for flag in integer]
        solver.passModel(lp)
        return solver


def _joined(blocks: list[Array]) -> Array:
    return np.concatenate(blocks).astype(float)
