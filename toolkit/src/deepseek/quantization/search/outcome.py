"""What a search found, and the account of how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.budget import Score
from deepseek.quantization.work import Work
from deepseek_core import QuantizedModel

__all__ = ["Outcome", "Trial"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that was tried.

    Attributes:
        step: its name.
        what: the variant, in words.
        seconds: that it took, or took when it was first tried.
        before, after: scores without and with it; `after` is None where it could not be tried.
        verdict: `kept`, `dropped`, or why it was not tried.
    """

    step: str
    what: str
    seconds: float
    before: Score | None
    after: Score | None
    verdict: str


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The best recipe found.

    Attributes:
        recipe: reproduces the result bit for bit from the same model and samples, without the search.
        work: the recipe run.
        score: of the result.
        reference: the float model's value by `evaluate`; None without one.
        shortfall: what of the budget is missed, in words; None when it is met.
        trials: what was tried, in order.
    """

    recipe: QuantizationRecipe
    work: Work
    score: Score
    reference: float | None
    shortfall: str | None
    trials: tuple[Trial, ...]

    def quantized(self) -> QuantizedModel:
        """The quantized model."""
        return self.work.quantized()

    def table(self) -> str:
        """The trials as text: step, variant, seconds, scores before and after, verdict."""
        head = ("step", "variant", "seconds", "SQNR dB", "agreement", "evaluate", "verdict")
        return _columns([head, *map(_row, self.trials)])


def _row(trial: Trial) -> tuple[str, ...]:
    pair = (trial.before, trial.after)
    return (
        trial.step,
        trial.what,
        f"{trial.seconds:.1f}",
        _change([None if s is None else f"{s.fidelity.sqnr:.2f}" for s in pair]),
        _change([None if s is None else f"{s.fidelity.agreement:.1%}" for s in pair]),
        _change([None if s is None or s.value is None else f"{s.value:.6g}" for s in pair]),
        trial.verdict,
    )


def _change(texts: Sequence[str | None]) -> str:
    return " → ".join(text for text in texts if text is not None)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
