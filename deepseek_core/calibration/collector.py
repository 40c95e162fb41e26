"""Stream samples through the float model into statistics."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from deepseek_core.calibration.feeds import check_sample
from deepseek_core.calibration.result import Calibration
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.errors import CalibrationError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.options import Progress

__all__ = ["collect"]


def collect(
    executable: Executable, samples: Iterable[Feeds], names: Sequence[str], progress: Progress | None = None
) -> Calibration:
    """Run every sample once and keep statistics of the named tensors.

    Memory is that of one sample's outputs plus 64 KiB per tensor, however many samples there are. When even one
    sample's outputs are too large, calibrate groups of tensors with one executable each over the same samples and
    `merge` the results.

    Args:
        executable: the float model; its outputs (taps) and inputs hold every tensor of `names`.
        samples: feeds by input name, any batch size the model takes. May be a generator; read once.
        names: float tensors to observe, in the order in which errors should name them (the graph's).
        progress: told after every sample; the fraction stays 0 until the end when `samples` has no length.

    Raises:
        CalibrationError: there is no sample, one does not fit the model, or a tensor is not finite.
    """
    _check_names(executable, names)
    stats = {name: TensorStats() for name in names}
    total = operator.length_hint(samples)
    number = 0
    for number, sample in enumerate(samples, start=1):
        feeds = check_sample(sample, executable.inputs, number - 1)
        outputs = executable.run(feeds)
        for name, tensor in stats.items():
            # An output is dropped as soon as it is counted: the next sample's come while few of these are left.
            tensor.update(outputs.pop(name) if name in outputs else feeds[name])
        _check_finite(stats, number - 1)
        if progress:
            progress(f"calibrating, sample {number} of {total or '?'}", min(number / total, 1.0) if total else 0.0)
    if number == 0:
        raise CalibrationError("the calibration data holds no sample", fix="give at least one; 100 to 500 are usual")
    if progress:
        progress("calibrated", 1.0)
    return Calibration(stats)


def _check_names(executable: Executable, names: Sequence[str]) -> None:
    known = {info.name for info in (*executable.inputs, *executable.outputs)}
    unknown = [name for name in names if name not in known]
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
