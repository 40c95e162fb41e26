"""Choose the variant of each step: the few that look best by their sizes are compiled, and ranked by their code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from deepseek_backend_rocm.building import Built, build, sources
from deepseek_backend_rocm.kernels.signatures import Variant
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.selection.candidates import candidates, grid_of
from deepseek_backend_rocm.selection.model import cost_of, problem_of
from deepseek_backend_rocm.selection.splitting import splits
from deepseek_backend_rocm.targets import CHECK, LAUNCH, Gpu
from deepseek_core.errors import BackendError
from deepseek_core.selection import TuningCache, cache_folder

__all__ = ["Choice", "Chooser", "Timer", "shortlist", "signature_of"]

Timer = Callable[[Step, Built], float]
"""Seconds of a launch on a device."""
_COMPILED = 4
"""Candidates of a step that are compiled, at most."""
_DETOUR = 1.25
"""What LDS costs a product on RDNA that could do without."""
_WORTH = 2
"""Launches that a step must cost before it is tried in two."""
_ONE_TILE = 2**18
"""Multiply-accumulates up to which a step is too small for the choice to matter."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a step runs.

    Attributes:
        launches: in order; each a step, the step itself or a part of it, with what runs it.
        seconds: what they cost, by `basis`.
        basis: `analytic`, or `measured` where a device is there.
    """

    launches: tuple[tuple[Step, Built], ...]
    seconds: float
    basis: str

    @property
    def built(self) -> Built:
        """What runs the first launch: the one with the products."""
        return self.launches[0][1]


Way = tuple[tuple[Step, Variant], ...]
"""Launches that compute a step, before they are compiled."""


class Chooser:
    """Chooses for one GPU; figures are kept in the user's tuning cache.

    Args:
        gpu: to choose for.
        timer: times launches on a device; None to go by the model.
        device: name of the device, under which its figures are kept.
        search: whether several candidates are compiled at all.
    """

    def __init__(self, gpu: Gpu, timer: Timer | None = None, device: str = "", *, search: bool = True) -> None:
        self._gpu, self._timer, self._search = gpu, timer, search
        self._basis = "analytic" if timer is None else "measured"
        code = sources("kernels/*.py", "assembly.py", "selection/*.py", "targets.py")
        self._context = f"{gpu.name} {device or 'model'} {code}"
        self._cache = TuningCache(cache_folder() / "rocm-tuning.json")

    def choose(self, step: Step) -> Choice:
        """The cheapest way.

        Raises:
            BackendError: no variant may run the step; with the reason of the first one.
        """
        found = shortlist(step, self._gpu)[: _COMPILED if self._search else 1]
        in_two = list(self._in_two(step))
        signature = signature_of(step)
        known = self._cache.get(self._context, signature) if len(found) > 1 or in_two else {}
        if known:
            ways = {_name(way): way for way in (*(((step, one),) for one in found), *in_two)}
            if (best := min(known, key=lambda name: known[name])) in ways:
                return self._choice(ways[best], known[best])
        built = self._allowed(step, found) or self._allowed(step, candidates(step, self._gpu)[len(found) :])
        if not built:
            raise BackendError(self._refusal(step), fix="place it on another target")
        if len(found) == 1 and not in_two:  # nothing to compare, so nothing is timed
            return Choice(((step, built[0]),), cost_of(step, built[0], self._gpu), "analytic")
        options: dict[str, tuple[Way, float]] = {}
        for one in built:
            options[one.variant.name] = ((step, one.variant),), self._seconds(step, one)
        if min(seconds for _, seconds in options.values()) > _WORTH * LAUNCH:
            options |= self._costs(in_two)
        self._cache.put(self._context, signature, {name: seconds for name, (_, seconds) in options.items()})
        return self._choice(*min(options.values(), key=lambda option: option[1]))

    def save(self) -> None:
        """Keep the figures."""
        self._cache.save()

    def _choice(self, way: Way, seconds: float) -> Choice:
        return Choice(tuple((step, build(variant, self._gpu.name)) for step, variant in way), seconds, self._basis)

    def _in_two(self, step: Step) -> Iterator[Way]:
        """Ways in two launches, the first one by the variant that sizes alone rank highest."""
        for first, second in splits(step) if self._search and step.macs > _ONE_TILE else ():
            yield (first, shortlist(first, self._gpu)[0]), (second, candidates(second, self._gpu)[0])

    def _costs(self, ways: Sequence[Way]) -> dict[str, tuple[Way, float]]:
        """What ways in several launches cost, those behind the first included."""
        found = {}
        for way in ways:
            built = [(one, self._allowed(one, [variant])) for one, variant in way]
            if all(fitting for _, fitting in built):
                seconds = sum(self._seconds(one, fitting[0]) for one, fitting in built)
                found[_name(way)] = way, seconds + LAUNCH * (len(way) - 1)
        return found

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


def _name(way: Way) -> str:
    """Of its variants, and of the parts that a sum is made of."""
    return " + ".join(variant.name if step.batch == 1 else f"{step.batch} × {variant.name}" for step, variant in way)


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
    share = float(min(variant.warps / gpu.simds, 1.0) ** 0.5)
    if step.kernel.startswith("attention"):  # queries that share a read of the keys, less what would be padding
        return -(-x * z // gpu.units) * variant.constant("BM") / share
    rows, columns, depth = (variant.constant(name) for name in ("BM", "BN", "BK"))
    summed = step.macs / max(step.integer("n") * step.batch * step.integer("rows" if "rows" in step.values else "m"), 1)
    turns = -(-int(summed) // depth)
    # A tile's operands come from the caches at some 64 bytes a cycle, while matrix cores work.
    tile = max(rows * columns * depth / gpu.int8, (rows + columns) * depth / 64) * turns + rows * columns / 64
    detour = _DETOUR if gpu.matrix.startswith("v_wmma") and variant.kernel == "conv" else 1.0
    return float(-(-x * y * z // gpu.units) * tile * detour / share)
