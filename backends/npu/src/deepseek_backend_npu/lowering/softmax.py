"""Softmax on int8 codes."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_core import Unit

__all__ = ["LOWERINGS"]

LOWERINGS: dict[str, Callable[[Unit, Emitter], None]] = {}
