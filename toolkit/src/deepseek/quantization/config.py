"""Settings of the result: `DS_CONFIG` in the environment, or the equal keyword `config=`."""

from __future__ import annotations

import ast
import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from deepseek_core.errors import ConfigError

__all__ = ["FUSIONS", "VARIABLE", "QuantizerConfig"]

VARIABLE = "DS_CONFIG"
"""Environment variable: JSON, or a Python literal."""

_FUSED_BY = {"conv": ("Conv", "ConvTranspose"), "matmul": ("Gemm", "MatMul"), "add": ("Add",)}
_FUNCTIONS = {
    "relu": ("Relu", "Clip"),
    "leakyrelu": ("LeakyRelu",),
    "sigmoid": ("Sigmoid",),
    "hardsigmoid": ("HardSigmoid",),
    "hardswish": ("HardSwish",),
    "tanh": ("Tanh",),
}
BIAS = "matmul+bias"

FUSIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{f"{a}+{b}": (ops, functions) for a, ops in _FUSED_BY.items() for b, functions in _FUNCTIONS.items()},
    BIAS: (("Gemm",), ()),
}
"""Pattern → the op types in front, and the activations that it fuses behind them. ReLU6 is a `relu`."""


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """Settings of the result; None leaves the choice to the targets.

    Attributes:
        batch_size: the one batch size that the result takes.
        tensor_core: True: only what matrix units compute: signed 8-bit codes around zero, channels in fours.
            False: nothing that needs matrix units (8-bit floats).
        kernel_fusion: the only patterns that may be one unit; what they would have fused keeps a unit, and a
            Q and DQ, of its own.
    """

    batch_size: int | None = None
    tensor_core: bool | None = None
    kernel_fusion: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        size, flag = self.batch_size, self.tensor_core
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ConfigError(f"batch_size is {size!r}", fix="give a whole number of 1 or more")
        if flag is not None and not isinstance(flag, bool):
            raise ConfigError(f"tensor_core is {flag!r}", fix="give true or false")
        for pattern in self.kernel_fusion or ():
            if pattern not in FUSIONS:
                raise ConfigError(f"kernel_fusion knows no pattern {pattern!r}", fix=_known(str(pattern), FUSIONS))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a mapping of settings.

        Raises:
            ConfigError: a key or pattern is unknown, or a value is impossible.
        """
        keys = [field.name for field in fields(cls)]
        for key in data:
            if key not in keys:
                raise ConfigError(f"the configuration has no key {key!r}", fix=_known(str(key), keys))
        fusion = data.get("kernel_fusion")
        if fusion is not None:
            if isinstance(fusion, str) or not isinstance(fusion, list | tuple | set | frozenset):
                raise ConfigError(f"kernel_fusion is {fusion!r}", fix='give a list, for example ["conv+relu"]')
            order = list(FUSIONS)
            fusion = tuple(sorted(set(fusion), key=lambda p: (order.index(p) if p in FUSIONS else -1, str(p))))
        return cls(data.get("batch_size"), data.get("tensor_core"), fusion)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read JSON or a Python literal; nothing is evaluated.

        Raises:
            ConfigError: it is neither, or see `from_json`.
        """
        try:
            data = json.loads(text)
        except ValueError:
            try:
                data = ast.literal_eval(text.strip())
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                raise ConfigError(f"{VARIABLE} is neither JSON nor a Python literal", fix=_EXAMPLE) from None
        if not isinstance(data, dict):
            raise ConfigError(f"{VARIABLE} is a {type(data).__name__}, not a mapping", fix=_EXAMPLE)
        return cls.from_json(data)

    @classmethod
    def read(cls, config: Mapping[str, Any] | QuantizerConfig | None = None) -> Self:
        """The environment's settings, and over them those of `config`, key by key."""
        given = config if isinstance(config, QuantizerConfig) else cls.from_json(config or {})
        text = os.environ.get(VARIABLE, "")
        base = cls.parse(text) if text.strip() else cls()
        own = {f.name: value for f in fields(cls) if (value := getattr(given, f.name)) is not None}
        return replace(base, **own)

    def to_json(self) -> dict[str, Any]:
        """What is set; `from_json` is its inverse."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None}


_EXAMPLE = """for example {"batch_size": 8, "tensor_core": true, "kernel_fusion": ["conv+relu"]}"""


def _known(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names)}"
