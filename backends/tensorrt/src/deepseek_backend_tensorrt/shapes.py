"""Profiles of inputs whose shapes vary: as the user says, else around the shapes that calibration saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek_backend_tensorrt.settings import Profile
from deepseek_core import QuantizedModel, TensorInfo
from deepseek_core.errors import ConfigError

__all__ = ["profiles"]

_FACTOR = 8
"""How much larger than in calibration a dimension may become."""
_BATCH = (1, 8, 64)
"""Smallest, usual and largest batch where calibration saw none, as inside a network that is placed in parts."""


def profiles(model: QuantizedModel, chosen: Sequence[Profile]) -> list[dict[str, list[list[int]]]]:
    """One entry for each profile; none for a model whose shapes are all known.

    Raises:
        ConfigError: a profile does not fit the inputs, or there is none and no shape to start from.
    """
    varying = [info for info in model.inputs if not _is_fixed(info)]
    if not varying:
        return []
    if chosen:
        return [_checked(model, varying, profile) for profile in chosen]
    samples = model.metadata.get("sample_shapes")
    shapes = samples if isinstance(samples, Mapping) else {}
    return [{info.name: _around(info, shapes.get(info.name)) for info in varying}]


def _is_fixed(info: TensorInfo) -> bool:
    return info.shape is not None and all(isinstance(size, int) for size in info.shape)


def _checked(model: QuantizedModel, varying: list[TensorInfo], profile: Profile) -> dict[str, list[list[int]]]:
    known = {info.name: info for info in model.inputs}
    for name, shapes in profile.items():
        info = known.get(name)
        if info is None:
            raise ConfigError(f"tensorrt.profile names '{name}', which is no input", fix=f"inputs: {', '.join(known)}")
        for shape in shapes:
            fits = info.shape is not None and len(info.shape) == len(shape)
            if not fits or any(isinstance(d, int) and d != s for d, s in zip(info.shape or (), shape, strict=True)):
                raise ConfigError(
                    f"tensorrt.profile gives '{name}' shape {list(shape)}, the model {list(info.shape or ())}",
                    fix="give shapes that fit the model's",
                )
    missing = next((info.name for info in varying if info.name not in profile), None)
    if missing is not None:
        raise ConfigError(f"tensorrt.profile has no shapes of '{missing}'", fix="give each input that varies an entry")
    return {info.name: [list(shape) for shape in profile[info.name]] for info in varying}


def _around(info: TensorInfo, sample: object) -> list[list[int]]:
    usual = list(sample) if isinstance(sample, Sequence) else None
    if usual is None and info.shape and all(isinstance(size, int) for size in info.shape[1:]):
        return [[batch, *(size for size in info.shape[1:] if isinstance(size, int))] for batch in _BATCH]
    if info.shape is None or usual is None or len(usual) != len(info.shape):
        raise ConfigError(
            f"the shape of input '{info.name}' varies, and nothing says within what limits",
            fix=f"give them: --set tensorrt.profile={info.name}:SMALLEST,USUAL,LARGEST, such as 1x3x224x224 each",
        )
    low = [size if isinstance(size, int) else 1 for size in info.shape]
    high = [size if isinstance(size, int) else _FACTOR * seen for size, seen in zip(info.shape, usual, strict=True)]
    return [low, usual, high]
