"""Choose the variant of each step: the few that look best by their sizes are compiled, and ranked by their code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepseek_backend_rocm.building import Built, build, sources
from deepseek_backend_rocm.kernels.signatures import Variant
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.selection.candidates import candidates, grid_of
from deepseek_backend_rocm.selection.model import cost_of, problem_of
from deepseek_backend_rocm.targets import CHECK, Gpu
from deepseek_core.errors import BackendError
from deepseek_core.selection import TuningCache, cache_folder

__all__ = ["Choice", "Chooser", "Timer", "shortlist", "signature_of"]

Timer = Callable[[Step, Built], float]
"""Seconds of a launch on a device."""
_COMPILED = 4
"""Candidates of a step that are compiled, at most."""
_ONE_TILE = 2**18
"""Multiply-accumulates up to which a step is too small for the choice to matter."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A step's variant.

    Attributes:
        built: what is launched.
        seconds: what a launch costs, by `basis`.
        basis: `analytic`, or `measured` where a device is there.
    """

    built: Built
    seconds: float
    basis: str


class Chooser:
    """Chooses for one GPU; figures are kept in the user's tuning cache.

    Args:
        gpu: to choose for.
        timer: times launches on a device; None to go by the model.
        device: name of the device, under which its figures are kept.
        search: whether several candidates are compiled at all.
    """

    def __init__(self, gpu: Gpu, timer: Timer | None = None, device: str = "", *, search: bool = True) -> None:
        self._gpu, self._timer, self._most = gpu, timer, _COMPILED if search else 1
        self._basis = "analytic" if timer is None else "measured"
        code = sources("kernels/*.py", "assembly.py", "selection/*.py", "targets.py")
        self._context = f"{gpu.name} {device or 'model'} {code}"
        self._cache = TuningCache(cache_folder() / "rocm-tuning.json")

    def choose(self, step: Step) -> Choice:
        """The cheapest variant.

        Raises:
            BackendError: no variant may run the step; with the reason of the first one.
        """
        found = shortlist(step, self._gpu)[: self._most]
        signature = signature_of(step)
        known = self._cache.get(self._context, signature) if len(found) > 1 else {}
        names = {variant.name: variant for variant in found}
        if known and (best := min(known, key=lambda name: known[name])) in names:
            return Choice(build(names[best], self._gpu.name), known[best], self._basis)
        built = self._allowed(step, found) or self._allowed(step, candidates(step, self._gpu)[len(found) :])
        if not built:
            raise BackendError(self._refusal(step), fix="place it on another target")
        if len(found) == 1:  # nothing to compare, so nothing is timed
            return Choice(built[0], cost_of(step, built[0], self._gpu), "analytic")
        seconds = {one.variant.name: self._seconds(step, one) for one in built}
        self._cache.put(self._context, signature, seconds)
        best = min(seconds, key=lambda name: seconds[name])
        return Choice(next(one for one in built if one.variant.name == best), seconds[best], self._basis)

    def save(self) -> None:
        """Keep the figures."""
        self._cache.save()

    def _allowed(self, step: Step, found: Sequence[Variant]) -> list[Built]:
        """Those that may run, compiled."""
        built = (build(variant, self._gpu.name) for variant in found)
        return [one for one in built if problem_of(one, self._gpu) is None]

    def _refusal(self, step: Step) -> str:
        (first, *_) = candidates(step, self._gpu)
        reason = problem_of(build(first, self._gpu.name), self._gpu)
        return f"no kernel fits '{step.unit}' on {self._gpu.name}: {reason}"

    def _seconds(self, step: Step, built: Built) -> float:
        return cost_of(step, built, self._gpu) if self._timer is None else self._timer(step, built)


def shortlist(step: Step, gpu: Gpu) -> list[Variant]:
    """Candidates worth compiling, the most promising first: one where there is little to win."""
    found = candidates(step, gpu)
    if step.macs <= _ONE_TILE or len(found) == 1:
        return found[:1]
    return sorted(found, key=lambda variant: _promise(step, variant, gpu))[: 1 if gpu is CHECK else _COMPILED]


def signature_of(step: Step) -> str:
    """What decides how fast a step runs: the key of its figures."""
    numbers = [f"{name}={value}" for name, value in step.values.items() if isinstance(value, int)]
    fixed = [f"{name}={value}" for name, value in (*step.constants.items(), *step.types.items())]
    return f"{step.kernel} {' '.join(fixed)} batch={step.batch} {' '.join(numbers)}"


def _promise(step: Step, variant: Variant, gpu: Gpu) -> float:
    """Cycles by sizes alone: whole rounds of workgroups over the compute units, and the bytes that their tiles read."""
    x, y, z = grid_of(step, variant)
    if step.kernel.startswith("attention"):  # queries that share a read of the keys, less what would be padding
        return -(-x * z // gpu.units) * variant.constant("BM") / min(variant.warps / gpu.simds, 1.0) ** 0.5
    rows, columns, depth = (variant.constant(name) for name in ("BM", "BN", "BK"))
    summed = step.macs / max(step.integer("n") * step.batch * step.integer("rows" if step.kernel == "conv" else "m"), 1)
    turns = -(-int(summed) // depth)
    # A tile's operands come from the caches at some 64 bytes a cycle, while matrix cores work.
    tile = max(rows * columns * depth / gpu.int8, (rows + columns) * depth / 64) * turns + rows * columns / 64
    share = min(variant.warps / gpu.simds, 1.0)
    return float(-(-x * y * z // gpu.units) * tile / share**0.5)
