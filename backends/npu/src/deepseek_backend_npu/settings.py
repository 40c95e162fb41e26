"""What a user may choose about a compilation: `--set npu.NAME=VALUE`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from deepseek_backend_npu.devices import MEMORY_MODES, SYSTEMS, Device
from deepseek_core.errors import ConfigError

__all__ = ["AUTO", "Settings"]

AUTO = "auto"
_OBJECTIVES = ("performance", "size")
_SWITCHES = ("on", "off")
_TIERS = (AUTO, "emulated", "reference")
_NAME = re.compile(r"(performance|size), cascading (on|off), buffering (on|off), (\d+) bytes")
_ALIGNMENT = 16
_UNITS = {"": 1, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2}


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        system: system around the NPU, as Vela's configuration names it.
        memory: memory mode: where constants, feature maps and the cache are.
        optimize: `performance`, `size`, or `auto`: whatever the compiler estimates fewer cycles for.
        cascading: whether operations are interleaved to save memory: `on`, `off` or `auto`.
        buffering: whether weights are fetched ahead: `on`, `off` or `auto`.
        sram: bytes of fast memory that the compiler may fill, 0 for the memory mode's own limit.
        tier: how the artifact runs here: `emulated`, `reference`, or `auto` for the closest to the hardware.
    """

    system: str
    memory: str
    optimize: str = AUTO
    cascading: str = AUTO
    buffering: str = AUTO
    sram: int = 0
    tier: str = AUTO

    @classmethod
    def read(cls, extra: Mapping[str, str], device: Device) -> Settings:
        """Settings from `CompileOptions.extra`.

        Raises:
            ConfigError: an unknown name or value, or one that the device does not have.
        """
        names = [field.name for field in fields(cls)]
        for name in extra:
            if name not in names:
                raise ConfigError(f"the npu backend has no option '{name}'", fix=f"it has: {', '.join(names)}")
        system, memory = extra.get("system", device.system), extra.get("memory", device.memory_mode)
        systems = [name for name, system_ in SYSTEMS.items() if system_.family == device.family]
        memories = [name for name, families in MEMORY_MODES.items() if device.family in families]
        return cls(
            _choice("system", system, systems),
            _choice("memory", memory, memories),
            _choice("optimize", extra.get("optimize", AUTO), (AUTO, *_OBJECTIVES)),
            _choice("cascading", extra.get("cascading", AUTO), (AUTO, *_SWITCHES)),
            _choice("buffering", extra.get("buffering", AUTO), (AUTO, *_SWITCHES)),
            _size(extra.get("sram", "0")),
            _choice("tier", extra.get("tier", AUTO), _TIERS),
        )

    def candidates(self) -> list[Settings]:
        """The compilations that `auto` stands for: the compiler's own defaults first, then one difference each."""
        default = self.default()
        found = [default]
        if self.optimize == AUTO:
            found.append(replace(default, optimize="size"))
        if self.cascading == AUTO:
            found.append(replace(default, cascading="off"))
        if self.buffering == AUTO:
            found.append(replace(default, buffering="off"))
        return found

    def below(self, used: int) -> Settings | None:
        """The defaults with less fast memory than the `used` bytes; None where something limits it already."""
        limit = used - _ALIGNMENT
        free = self.sram == 0 and AUTO in (self.optimize, self.cascading, self.buffering)
        return replace(self.default(), sram=limit) if free and limit > 0 else None

    @property
    def name(self) -> str:
        """The choices of one compilation, for caches and reports."""
        return f"{self.optimize}, cascading {self.cascading}, buffering {self.buffering}, {self.sram} bytes"

    def named(self, name: str) -> Settings | None:
        """These settings with the choices of a name; None for a name that is none."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        optimize, cascading, buffering, sram = match.groups()
        return replace(self, optimize=optimize, cascading=cascading, buffering=buffering, sram=int(sram))

    def default(self) -> Settings:
        """One compilation: the compiler's defaults wherever nothing is chosen."""
        return replace(
            self,
            optimize="performance" if self.optimize == AUTO else self.optimize,
            cascading="on" if self.cascading == AUTO else self.cascading,
            buffering="on" if self.buffering == AUTO else self.buffering,
        )


def _choice(name: str, value: str, allowed: list[str] | tuple[str, ...]) -> str:
    known = {choice.lower(): choice for choice in allowed}
    if value.lower() not in known:
        raise ConfigError(f"npu.{name}={value}", fix=f"choose one of {', '.join(allowed)}")
    return known[value.lower()]


def _size(text: str) -> int:
    number = text.strip().lower().rstrip("kmib")
    unit = text.strip().lower()[len(number) :]
    if not number.isdigit() or unit not in _UNITS:
        raise ConfigError(f"npu.sram={text}", fix="give bytes, or a size such as 384K or 2M")
    return int(number) * _UNITS[unit]
