"""Codes for every weight of a model, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepseek.quantization.grams import Decision, Measured, walk
from deepseek.quantization.notes import Note
from deepseek.quantization.weights.layer import Method, Solution, solve
from deepseek.quantization.work import Work
from deepseek_core.quantize import QuantizedWeight

__all__ = ["choose"]


def choose(work: Work, method: Method, step: str, *, stages: int, rows: int) -> Work:
    """The work with codes for the weights of its main graph, and a note on each in its log.

    Layers that share a constant share the codes that the first of them chose. Weights in bodies of control flow,
    and of ops that do not accumulate, stay as they are.

    Args:
        work: what it has chosen before gives the scales to start from.
        method: for each layer.
        step: name, for the notes.
        stages, rows: see `grams.walk`.
    """
    chooser = _Chooser(method, step)
    done = walk(work, chooser, stages=stages, rows=rows, biases=method.bias, name=step.replace("_", " "))
    return replace(done, log=(*work.log, *chooser.notes))


@dataclass(slots=True)
class _Tied:
    weight: QuantizedWeight
    unit: str


class _Chooser:
    def __init__(self, method: Method, step: str) -> None:
        self._method, self._step = method, step
        self._chosen: dict[tuple[str, str], _Tied] = {}
        self.notes: list[Note] = []

    def __call__(self, measured: Measured) -> Decision:
        site = measured.site
        shared = (site.constant, str(measured.start.scheme))
        tied = self._chosen.get(shared)
        if tied is not None:
            self.notes.append(Note(self._step, site.unit.name, f"shares the weight of '{tied.unit}'"))
            return Decision(tied.weight)
        solution = solve(measured, self._method)
        self._chosen[shared] = _Tied(solution.decision.weight, site.unit.name)
        self.notes.append(_note(self._step, site.unit.name, solution))
        return solution.decision


def _note(step: str, unit: str, solution: Solution) -> Note:
    figures = {
        "snr_nearest_db": solution.before,
        "snr_db": solution.after,
        "shrinkage": solution.shrink,
        "compensation_steps": float(solution.steps),
    }
    text = f"output {solution.before:.1f} dB rounded to nearest, {solution.after:.1f} dB as chosen"
    return Note(step, unit, text, figures)
