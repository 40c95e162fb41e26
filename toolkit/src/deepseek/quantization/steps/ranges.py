"""Choose the range of each activation by the error it makes where the activation is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from deepseek.quantization.notes import Note
from deepseek.quantization.ranges import Range, Reader, find_range, readers
from deepseek.quantization.scaling.observe import ChannelStats, observe
from deepseek.quantization.search.judge import Judge
from deepseek.quantization.search.trial import spread
from deepseek.quantization.work import Work
from deepseek_core import CalibratorSpec, TensorRecipe
from deepseek_core.calibration import calibrator
from deepseek_core.errors import ConfigError

__all__ = ["Ranges"]

_KINDS = ("logits", "other", "layer")
_JUDGED = 16


@dataclass(frozen=True, slots=True)
class Ranges:
    """The range of each activation that its readers suffer least from.

    Calibrators judge a tensor by itself. What counts is the error that reaches the outputs of the layers that read it,
    and behind matrix products, whose outputs are normalised token by token, the error relative to each token: clipping
    one token with large values costs that token, coarse steps cost all others. The ranges of several calibrators, and
    shares of the full range at both ends, are tried on places kept from the calibration samples; half of them are those
    with the largest values, which clipping is about. What a Softmax is taken of keeps its full range: the largest value
    decides there, and squared errors do not tell.

    The new ranges stay only where the outputs of the network on calibration samples come nearer to the float ones; what
    feeds a Softmax, layers with weights, and other readers are judged apart.

    Attributes:
        methods: calibrators to start from, beside the recipe's own; `mse` and `entropy` are allowed, and slower.
        least_gain: share of the error that must go for a range to be proposed.
        samples: calibration samples that are looked at, spread evenly; outputs are judged on 16 of them at most.
    """

    methods: tuple[str, ...] = ("minmax", "percentile")
    least_gain: float = 0.02
    samples: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.least_gain < 1 or self.samples < 1:
            raise ConfigError(
                f"ranges with least_gain {self.least_gain} and {self.samples} samples",
                fix="give a share below 1, and at least 1 sample",
            )
        for method in self.methods:
            calibrator(CalibratorSpec(method))

    def __call__(self, work: Work) -> Work:
        work = work.calibrated()
        few = spread(work.samples, self.samples)
        proposals = list(self._proposals(replace(work, samples=few)))
        judge = Judge(work.origin, spread(few, _JUDGED), None, work.registry)
        best = judge.fidelity(work.quantized())
        for kind in _KINDS:
            mine = {name: spec for own, name, spec, _ in proposals if own == kind}
            if not mine:
                continue
            changed = replace(work, ranges={**work.ranges, **mine})
            found = judge.fidelity(changed.quantized())
            figures = {"snr_before_db": best.sqnr, "snr_after_db": found.sqnr}
            kept = found.noise < best.noise
            summary = Note("ranges", "", f"{len(mine)} ranges ({kind}) {'kept' if kept else 'left out'}", figures)
            notes = [note for own, *_, note in proposals if own == kind and kept]
            work = replace(changed if kept else work, log=(*work.log, *notes, summary))
            best = found if kept else best
        return work

    def _proposals(self, work: Work) -> Iterator[tuple[str, str, CalibratorSpec, Note]]:
        """(kind of reader, activation, calibrator, note) of each range that promises less error."""
        recipe = work.recipe()
        wanted = {name: entry for name, entry in recipe.activations.items() if _searchable(entry)}
        found = {name: own for name, own in readers(work.model, recipe).items() if name in wanted}
        searched = {name: own for name, own in found.items() if not _has(own, "logits")}
        shapes = {reader.value: reader.shape for own in searched.values() for reader in own}
        stats = observe(work.model, shapes, work.samples, work.registry, seed=work.seed, progress=work.progress)
        for number, (name, own) in enumerate(found.items()):
            work.progress("choosing ranges", number / len(found))
            entry = wanted[name]
            if name not in searched:
                if entry.calibrator.method != "minmax":
                    yield "logits", name, CalibratorSpec("minmax"), Note("ranges", name, "full range: feeds a Softmax")
                continue
            proposal = self._searched(name, own, entry, work, stats)
            if proposal is not None:
                yield "layer" if _has(own, "layer") else "other", name, *proposal

    def _searched(
        self, name: str, own: list[Reader], entry: TensorRecipe, work: Work, stats: Mapping[str, ChannelStats]
    ) -> tuple[CalibratorSpec, Note] | None:
        fitting = [r for r in own if r.value in stats and stats[r.value].low.size == prod(r.shape)]
        result = find_range([(r, stats[r.value]) for r in fitting], entry.scheme, self._known(name, entry, work))
        if result is None or not result[1] < (1 - self.least_gain) * result[2]:
            return None
        (low, high), after, before = result
        figures = {"relative_error_before": before, "relative_error_after": after}
        spec = CalibratorSpec("fixed", (("high", high), ("low", low)))
        return spec, Note("ranges", name, f"range {low:.4g} to {high:.4g}", figures)

    def _known(self, name: str, entry: TensorRecipe, work: Work) -> list[Range]:
        """The range of the recipe's calibrator, then those of the others."""
        assert work.calibration is not None
        specs = dict.fromkeys((entry.calibrator, *map(CalibratorSpec, self.methods)))
        entries = (TensorRecipe(entry.scheme, spec) for spec in specs)
        return [work.calibration.range(name, own, work.calibrators) for own in entries]


def _has(own: list[Reader], kind: str) -> bool:
    return any(reader.kind == kind for reader in own)


def _searchable(entry: TensorRecipe) -> bool:
    """Float codes and 16-bit ones hardly care for the range."""
    return entry.scheme.dtype.is_integer and entry.scheme.dtype.bits <= 8
