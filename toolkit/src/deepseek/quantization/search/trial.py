"""Is a changed network better? Ranges from one half of some calibration samples, outputs on the other half."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import islice

from deepseek.quantization.notes import Note
from deepseek.quantization.search.fidelity import Fidelity
from deepseek.quantization.search.judge import Judge
from deepseek.quantization.work import Work
from deepseek_core import Feeds

__all__ = ["better", "spread", "trial"]


def spread(samples: Collection[Feeds], at_most: int) -> list[Feeds]:
    """Some samples, evenly spread."""
    step = max(len(samples) // at_most, 1)
    return list(islice(samples, 0, step * at_most, step))


def trial(before: Work, after: Work, at_most: int) -> tuple[Fidelity, Fidelity]:
    """How close the quantized outputs of either are to the float ones, on samples whose ranges they have not seen.

    Args:
        before, after: two states of the same work.
        at_most: calibration samples to use.
    """
    few = spread(before.samples, at_most)
    first, second = few[::2], few[1::2] or few
    judge = Judge(before.origin, second, None, before.registry)
    old, new = (judge.fidelity(replace(w, samples=first, calibration=None).quantized()) for w in (before, after))
    return old, new


def better(before: Work, after: Work, step: str, at_most: int) -> Work:
    """The state whose outputs are nearer to the float ones, with a note by `step` on both; see `trial`."""
    old, new = trial(before, after, at_most)
    kept = after if new.noise < old.noise else before
    text = "kept: outputs get better" if kept is after else "left out: outputs get worse"
    figures = {"snr_before_db": old.sqnr, "snr_after_db": new.sqnr}
    return replace(kept, log=(*kept.log, Note(step, "", text, figures)))
