"""Order of execution, worked out once: which step waits for which, and how many need each value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from deepseek_core.errors import PackageError
from deepseek_core.executable import Feeds
from deepseek_core.runtime.step import Step

__all__ = ["Schedule"]


class Schedule:
    """The data-flow graph of a package's steps, from feeds to the wanted outputs.

    Args:
        steps: opened parts in execution order, numbered from 0.
        inputs: names that are fed.
        constants: outputs that are constants of the model.
        outputs: names of the wanted values, in order.

    Attributes:
        after: for each step, the numbers of those that take something it gives.
        awaits: for each step, how many others it waits for.
        uses: value → how many steps take it, and one more when it is wanted.
        single: the only step, when it alone takes the feeds and gives the outputs.
        parallel: two steps on different devices do not depend on each other.

    Raises:
        PackageError: a part needs a value, or an output is wanted, that nothing gives.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        inputs: Iterable[str],
        constants: Mapping[str, NDArray[Any]],
        outputs: tuple[str, ...],
    ) -> None:
        inputs = tuple(inputs)
        _check_wiring(steps, {*inputs, *constants}, outputs)
        self.steps, self.outputs, self.constants = tuple(steps), outputs, dict(constants)
        before = _before(steps)
        self.after = tuple(tuple(s.number for s in steps if step.number in before[s.number]) for step in steps)
        self.awaits = tuple(map(len, before))
        self.uses = Counter(name for names in (outputs, *(step.takes for step in steps)) for name in names)
        self.parallel = any(a.lane != b.lane for a, b in _independent(steps, before))
        only = self.steps[0] if len(steps) == 1 else None
        direct = only is not None and set(only.takes) == set(inputs) and set(outputs) <= set(only.gives)
        self.single = only if direct else None

    @property
    def lanes(self) -> int:
        """How many devices it uses."""
        return len({step.lane for step in self.steps})

    def run_single(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """The wanted outputs, in order, where the whole model is one step."""
        assert self.single is not None
        results = self.single.run(feeds)
        return results if tuple(results) == self.outputs else self.picked(results)

    def picked(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The wanted outputs among `values`, in order.

        Raises:
            PartError: one is missing.
        """
        try:
            return {name: values[name] for name in self.outputs}
        except KeyError as error:
            name = error.args[0]
            raise next(step for step in self.steps if name in step.gives).forgot(name) from None


def _check_wiring(steps: Sequence[Step], known: set[str], outputs: tuple[str, ...]) -> None:
    fix = "compile the package again"
    for step in steps:
        missing = sorted(set(step.takes) - known)
        if missing:
            raise PackageError(f"part {step.number} ({step.target}) needs '{missing[0]}', which nothing gives", fix=fix)
        known |= set(step.gives)
    absent = [name for name in outputs if name not in known]
    if absent:
        raise PackageError(f"no part gives the output '{absent[0]}'", fix=fix)


def _before(steps: Sequence[Step]) -> list[set[int]]:
    """For each step, the numbers of those that give what it takes."""
    giver = {name: step.number for step in steps for name in step.gives}
    return [{giver[name] for name in step.takes if name in giver} for step in steps]


def _independent(steps: Sequence[Step], before: Sequence[set[int]]) -> Iterator[tuple[Step, Step]]:
    """Pairs of steps with no path between them."""
    above: list[set[int]] = []  # every step that must have run
    for step in steps:
        above.append(before[step.number].union(*(above[n] for n in before[step.number])))
        yield from ((steps[n], step) for n in range(step.number) if n not in above[-1])
