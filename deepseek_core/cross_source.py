"""What `deepseek-cross-compile` builds from: shapes fixed, and quantized unless it is to stay in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepseek_core.data import Samples, random_feeds
from deepseek_core.errors import ConfigError, ModelError
from deepseek_core.ir import with_input_shapes
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import Progress
from deepseek_core.pipeline import quantize
from deepseek_core.registry import Registry
from deepseek_core.target import Target

__all__ = ["prepared_source"]

_MADE_UP = 8
_MADE_UP_NUMBERS = (
    "the model is not quantized, and is now on made-up numbers: its accuracy suffers; "
    "give --calib FOLDER, or --float to build it as it is"
)


def prepared_source(
    model: QuantizedModel,
    target: Target,
    registry: Registry,
    *,
    shapes: Mapping[str, Sequence[int]],
    calibration: Path | None,
    keep_float: bool = False,
    warn: Callable[[str], None],
    progress: Progress | None = None,
) -> QuantizedModel:
    """A model that can be built for a target; the one given is not changed.

    Args:
        shapes: sizes by input name; the name may be empty for a model with one input.
        calibration: samples to quantize a float model on. Without them it is quantized on made-up numbers.
        keep_float: leave a float model as it is.
        warn: told about made-up numbers.

    Raises:
        ConfigError: a shape for an input that is not there, samples for a model that is quantized already, or for
            one that is to stay in float.
        ModelError: the target needs fixed shapes and there are none.
    """
    model = _with_shapes(model, shapes)
    table = registry.resolve(target)[0].capabilities(target)
    if any(unit.is_quantized for unit in model.all_units()):
        if calibration is not None:
            raise ConfigError("the model is quantized already, so samples change nothing", fix="leave --calib out")
        return model
    if not table.dynamic_shapes and (loose := _loose(model)):
        sizes = ",".join(str(size) if isinstance(size, int) else "1" for size in loose[1])
        raise ModelError(
            f"input '{loose[0]}' has no fixed shape, and {target} needs one", fix=f"add --shape {loose[0]}={sizes}"
        )
    if keep_float and calibration is not None:
        raise ConfigError("samples change nothing in a model that stays in float", fix="leave --calib or --float out")
    if keep_float:
        return model
    if calibration is None:
        warn(_MADE_UP_NUMBERS)
        samples = [random_feeds(model.inputs, seed) for seed in range(_MADE_UP)]
        return quantize(model, samples, targets=[target], registry=registry, progress=progress)
    found = Samples(calibration, model.inputs)
    return quantize(model, found, targets=[target], registry=registry, progress=progress)


def _with_shapes(model: QuantizedModel, shapes: Mapping[str, Sequence[int]]) -> QuantizedModel:
    if not shapes:
        return model
    names = [info.name for info in model.inputs]
    named = {name or (names[0] if len(names) == 1 else name): sizes for name, sizes in shapes.items()}
    for name in named:
        if name not in names:
            raise ConfigError(f"--shape for '{name}', which is no input", fix=f"the inputs are {', '.join(names)}")
    return with_input_shapes(model, named)


def _loose(model: QuantizedModel) -> tuple[str, Sequence[object]] | None:
    """The first input without a fixed shape."""
    for info in model.inputs:
        if info.shape is None or not all(isinstance(size, int) for size in info.shape):
            return info.name, info.shape or ()
    return None
