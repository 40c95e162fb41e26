"""Two devices, additive objective: a minimum cut, solved as its linear program.

Stone (IEEE TSE 3(1), 1977): units are nodes, the two devices source and sink, and every labelling is a cut of its
cost. A tensor with several readers is one auxiliary node in each direction. The program's matrix is totally
unimodular, so a vertex is a labelling; HiGHS's simplex ends in a vertex.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import ConfigError
from deepseek_core.partition.optimize.highs import Program
from deepseek_core.partition.optimize.labelling import Labelling

__all__ = ["minimum_cut"]


def minimum_cut(problem: Labelling, seconds: float = np.inf) -> tuple[float, NDArray[np.int64]] | None:
    """The least energy and a labelling that has it; None when the time ran out.

    Raises:
        ConfigError: there are not two labels.
    """
    if problem.unary.shape[1] != 2:
        raise ConfigError("a minimum cut chooses between two devices", fix="choose the solver 'fast' or 'exact'")
    unary, tensors = problem.unary, problem.tensors
    here, there = np.isfinite(unary[:, 0]), np.isfinite(unary[:, 1])
    base = np.where(here, unary[:, 0], unary[:, 1])
    extra = np.where(here & there, np.where(there, unary[:, 1], 0.0) - base, 0.0)
    program = Program()
    second = program.variables((len(unary),), cost=extra, upper=there.astype(float))
    program.rows((second[~here], 1.0), lower=1.0)
    for source, reader in ((0, 1), (1, 0)):
        sign = 1.0 if source == 0 else -1.0
        crossing = program.variables((len(tensors),), cost=problem.weight[:, source, reader], upper=1.0)
        terms = ((second[tensors.reader], -sign), (second[tensors.source], sign))
        program.rows((crossing[tensors.tensor], 1.0), *terms, lower=0.0)
    answer = program.solve(seconds, simplex=True)
    if answer.values is None or not answer.optimal:
        return None
    return answer.bound + float(base.sum()), (answer.values[second] > 0.5).astype(np.int64)
