"""What a user may choose about a compilation: `--set tensorrt.NAME=VALUE`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from deepseek_core.errors import ConfigError

__all__ = ["AUTO", "ENVIRONMENT", "Profile", "Settings"]

AUTO = "auto"
ENVIRONMENT = "DEEPSEEK_TENSORRT_OPTIONS"
"""`level=1 without=CUBLAS,CUDNN`: options of every compilation, for installations that lack a library."""
Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Input name → smallest, usual and largest shape."""

_CHOICES = {
    "builder": (AUTO, "tensorrt", "rtx"),
    "precision": (AUTO, "float32", "tf32", "float16"),
    "kernels": ("measured", "int8", "weights", "float"),
}
_SIZE = re.compile(r"(\d+)([kmg]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        builder: `tensorrt`, which builds for the GPU in the machine, `rtx`, which builds ahead of time for any of its
            architectures, or `auto`: the first of the two that can.
        precision: what units in float compute in; `auto` is float32 where the builder has kernels for it.
        kernels: which quantized units run on codes: all (`int8`), those with weights (`weights`), none (`float`), or as
            measured on the device.
        level: effort of the builder, 0 to 5; None for its own.
        workspace: most bytes of scratch memory; None for all there is.
        profile: shapes of inputs that vary, one entry for each profile.
        version_compatible: the engine runs with later versions of its generation too.
        cache: keep the builder's measurements between builds.
        without: sources of kernels to leave out, such as CUBLAS.
        min_int8: smallest share of the quantized units that must really run on codes.
        lanes: runs that may go side by side.
        graphs: launch captured CUDA graphs.
    """

    builder: str = AUTO
    precision: str = AUTO
    kernels: str = "measured"
    level: int | None = None
    workspace: int | None = None
    profile: tuple[Profile, ...] = ()
    version_compatible: bool = False
    cache: bool = True
    without: tuple[str, ...] = ()
    min_int8: float = 0.0
    lanes: int = 2
    graphs: bool = True

    @classmethod
    def read(cls, extra: Mapping[str, str]) -> Settings:
        """Settings from `CompileOptions.extra`, over those that `DEEPSEEK_TENSORRT_OPTIONS` gives to every compilation.

        Raises:
            ConfigError: an unknown name, or an impossible value.
        """
        names = [field.name for field in fields(cls)]
        common = dict(part.split("=", 1) for part in os.environ.get(ENVIRONMENT, "").split() if "=" in part)
        extra = {**common, **extra}
        for name in extra:
            if name not in names:
                raise ConfigError(f"the tensorrt backend has no option '{name}'", fix=f"it has: {', '.join(names)}")
        return cls(**{name: _READERS[name](name, text) for name, text in extra.items()})


def _choice(name: str, text: str) -> str:
    if text not in _CHOICES[name]:
        raise ConfigError(f"tensorrt.{name} is '{text}'", fix=f"choose {', '.join(_CHOICES[name])}")
    return text


def _switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise ConfigError(f"tensorrt.{name} is '{text}'", fix="choose on or off")
    return text == "on"


def _integer(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        if not text.isdigit() or not low <= int(text) <= high:
            raise ConfigError(f"tensorrt.{name} is '{text}'", fix=f"give a whole number from {low} to {high}")
        return int(text)

    return read


def _share(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"tensorrt.{name} is '{text}'", fix="give a share between 0 and 1, such as 0.95")
    return value


def _bytes(name: str, text: str) -> int:
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        raise ConfigError(f"tensorrt.{name} is '{text}'", fix="give bytes, such as 4096, 512M or 2G")
    return int(match[1]) * _UNITS[match[2]]


def _names(name: str, text: str) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in text.split(",") if part.strip())


def _profiles(name: str, text: str) -> tuple[Profile, ...]:
    """`x:1x3x224x224,8x3x224x224,64x3x224x224;mask:…`, profiles between `|`."""
    return tuple(dict(_entry(name, part) for part in profile.split(";")) for profile in text.split("|"))


def _entry(name: str, text: str) -> tuple[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    tensor, colon, shapes = text.rpartition(":")
    try:
        low, usual, high = (tuple(int(size) for size in shape.split("x")) for shape in shapes.split(","))
    except ValueError:
        colon = ""
    if not colon or not all(a <= b <= c for a, b, c in zip(low, usual, high, strict=False)):
        raise ConfigError(
            f"tensorrt.{name} has '{text}'",
            fix="write input:SMALLEST,USUAL,LARGEST, for example x:1x3x224x224,8x3x224x224,64x3x224x224",
        )
    return tensor, (low, usual, high)


_READERS: dict[str, Callable[[str, str], Any]] = {
    "builder": _choice,
    "precision": _choice,
    "kernels": _choice,
    "level": _integer(0, 5),
    "workspace": _bytes,
    "profile": _profiles,
    "version_compatible": _switch,
    "cache": _switch,
    "without": _names,
    "min_int8": _share,
    "lanes": _integer(1, 64),
    "graphs": _switch,
}
