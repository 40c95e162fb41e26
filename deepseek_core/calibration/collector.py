"""Stream samples through the float model into statistics."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepseek_core.calibration.feeds import check_sample
from deepseek_core.calibration.result import Calibration
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.errors import CalibrationError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.ir.model import TensorInfo
from deepseek_core.options import Progress

__all__ = ["Observable", "collect"]

_SMALL = 1 << 14
"""Values counted at once where a body gives a few of them a thousand times: counting has a fixed price."""

See = Callable[[str, NDArray[Any]], None]


@runtime_checkable
class Observable(Protocol):
    """A float model that shows its values while it runs, such as `deepseek_core.observe.Observer`."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def names(self) -> tuple[str, ...]:
        """What `observe` shows."""
        ...

    def observe(self, feeds: Feeds, see: See) -> None:
        """Run one sample; `see(name, array)` is told each value, as often as it is computed."""
        ...


def collect(
    source: Executable | Observable, samples: Iterable[Feeds], names: Sequence[str], progress: Progress | None = None
) -> Calibration:
    """Run every sample once and keep statistics of the named tensors.

    Memory is that of what the source holds at a time (one sample's outputs of an executable, one piece's or one
    trip's of an observer) plus 128 KiB per tensor, however many samples there are. When even that is too large,
    calibrate groups of tensors over the same samples and `merge` the results.

    Args:
        source: the float model; its outputs (taps) and inputs, or what it shows, hold every tensor of `names`.
        samples: feeds by input name, any batch size the model takes. May be a generator; read once.
        names: float tensors to observe, in the order in which errors should name them (the graph's).
        progress: told after every sample; the fraction stays 0 until the end when `samples` has no length.

    Raises:
        CalibrationError: there is no sample, one does not fit the model, or a tensor is not finite.
    """
    shown = source if isinstance(source, Observable) else _Tapped(source)
    _check_names(shown, names)
    tally = _Tally(names)
    total = operator.length_hint(samples)
    number = 0
    for number, sample in enumerate(samples, start=1):
        shown.observe(check_sample(sample, source.inputs, number - 1), tally.see)
        tally.flush()
        _check_finite(tally.stats, number - 1)
        if progress:
            progress(f"calibrating, sample {number} of {total or '?'}", min(number / total, 1.0) if total else 0.0)
    if number == 0:
        raise CalibrationError("the calibration data holds no sample", fix="give at least one; 100 to 500 are usual")
    if progress:
        progress("calibrated", 1.0)
    return Calibration(tally.stats)


class _Tally:
    """Statistics by name; small arrays are counted together."""

    def __init__(self, names: Sequence[str]) -> None:
        self.stats = {name: TensorStats() for name in names}
        self._waiting: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        self._sizes = dict.fromkeys(names, 0)

    def see(self, name: str, array: NDArray[Any]) -> None:
        if name not in self.stats:
            return
        self._waiting[name].append(array.reshape(-1))
        self._sizes[name] += array.size
        if self._sizes[name] >= _SMALL:
            self._count(name)

    def flush(self) -> None:
        for name, waiting in self._waiting.items():
            if waiting:
                self._count(name)

    def _count(self, name: str) -> None:
        waiting = self._waiting[name]
        self.stats[name].update(waiting[0] if len(waiting) == 1 else np.concatenate(waiting))
        self._waiting[name] = []
        self._sizes[name] = 0


class _Tapped:
    """An executable that shows its inputs and outputs."""

    def __init__(self, executable: Executable) -> None:
        self._executable = executable
        self.inputs = executable.inputs
        self.names = tuple(info.name for info in (*executable.inputs, *executable.outputs))

    def observe(self, feeds: Feeds, see: See) -> None:
        outputs = self._executable.run(feeds)
        for name in self.names:
            # An output is dropped as soon as it is counted: the next sample's come while few of these are left.
            see(name, outputs.pop(name) if name in outputs else feeds[name])


def _check_names(shown: Observable, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in shown.names]
    if unknown:
        raise CalibrationError(
            f"the calibrated executable does not return tensor '{unknown[0]}'",
            fix="compile it with CompileOptions(taps=...) that holds every name",
        )


def _check_finite(stats: dict[str, TensorStats], number: int) -> None:
    for name, tensor in stats.items():
        if tensor.nans or tensor.infs:
            raise CalibrationError(
                f"tensor '{name}' has {tensor.nans} NaN and {tensor.infs} infinite values in sample {number}",
                fix="check the model in float on this sample; later tensors may only inherit them",
            )
