"""SmoothQuant: outlier channels of activations move into the weights behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deepseek.quantization.notes import Note
from deepseek.quantization.scaling import freedom, rescale
from deepseek.quantization.scaling.insert import insert_factors
from deepseek.quantization.scaling.observe import ChannelStats, observe
from deepseek.quantization.scaling.output import output_error
from deepseek.quantization.scaling.predict import predictor
from deepseek.quantization.scaling.products import Products, products
from deepseek.quantization.scaling.search import choose
from deepseek.quantization.search.trial import better, spread
from deepseek.quantization.work import Work
from deepseek_core import Recipe
from deepseek_core.errors import ConfigError

__all__ = ["Smooth"]


@dataclass(frozen=True, slots=True)
class Smooth:
    """Scale the channels of what matrix products read, and their weights against it (Xiao et al., ICML 2023).

    The factors go into what makes the tensor, where that can take them in: the gain of a LayerNorm or RMSNorm, a linear
    layer, a product with a constant vector. Elsewhere (behind GELU, or where a residual branch reads the tensor, too) a
    Mul is put in front of the products, if that pays. All readers of a tensor (Q, K, V) are served by the same factors.
    The exponents are searched for each tensor; factors stay only where the output error of the quantized products on
    calibration data falls. The float function stays the same to rounding.

    Attributes:
        least_gain: share of the output error that must go for factors to be kept.
        insert: allow new Mul nodes.
        insert_gain: the share that must go for a new node.
        samples: calibration samples that are looked at, and that the outputs are judged on, spread evenly.
        check: leave the network as it was where its outputs on calibration samples get worse.
    """

    least_gain: float = 0.05
    insert: bool = True
    insert_gain: float = 0.3
    samples: int = 32
    check: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.least_gain < 1 and 0 <= self.insert_gain < 1 and self.samples >= 1):
            raise ConfigError(
                f"smooth with gains {self.least_gain} and {self.insert_gain}, and {self.samples} samples",
                fix="give shares of at least 0 and below 1, and at least 1 sample",
            )

    def __call__(self, work: Work) -> Work:
        recipe, found = work.recipe(), freedom(work.model)
        candidates = [c for c in products(work.model, recipe, found) if self.insert or not c.needs_node]
        shapes = {name: ids.shape for c in candidates for name, ids in c.group.values.items()}
        few = spread(work.samples, self.samples)
        stats = observe(work.model, shapes, few, work.registry, seed=work.seed, progress=work.progress)
        factors, inserted, notes = np.ones(found.count), [], []
        for number, candidate in enumerate(candidates):
            work.progress("smoothing activations", number / len(candidates))
            chosen = self._chosen(candidate, work, recipe, stats)
            if chosen is None:
                continue
            vector, note = chosen
            notes.append(note)
            if candidate.needs_node:
                inserted.append((candidate, vector))
            else:
                factors[candidate.group.variables] = vector
        if not notes:
            return work
        model = rescale(work.model, found, factors)
        for candidate, vector in inserted:
            insert_factors(model, candidate.value, candidate.nodes, vector)
        done = replace(work.with_model(model), log=(*work.log, *notes))
        return better(work, done, "smooth", self.samples) if self.check else done

    def _chosen(
        self, candidate: Products, work: Work, recipe: Recipe, stats: Mapping[str, ChannelStats]
    ) -> tuple[np.ndarray, Note] | None:
        """Factors that lower both the predicted noise and the measured output error enough."""
        noise = predictor(candidate.group, work.model, recipe, stats)
        gain = self.insert_gain if candidate.needs_node else self.least_gain
        vector = None if noise is None else choose(noise, gain)
        if vector is None:
            return None
        before, after = (output_error(candidate, work.model, recipe, stats, t) for t in (np.ones(len(vector)), vector))
        if not after < (1 - gain) * before:
            return None
        how = "by a Mul in front of" if candidate.needs_node else "in"
        text = f"scaled {how} {', '.join(candidate.nodes)}"
        figures = {"relative_error_before": before, "relative_error_after": after}
        return vector, Note("smooth", candidate.value, text, figures)
