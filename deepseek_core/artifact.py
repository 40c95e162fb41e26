"""Artifact: the bytes a backend built, and what a loader must know before it trusts them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_core.target import Target

__all__ = ["Artifact"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled part.

    Attributes:
        target: what it was built for.
        payload: the bytes; their format is the backend's own.
        format: short name of the payload's format, for example `onnx` or `elf`.
        toolchain: versions that shaped the bytes, for example `{"onnxruntime": "1.32.0"}`.
        requires: features the running machine must have, for example `("avx512_vnni",)`.
        report: plain JSON for people: chosen kernels, estimates, memory.
    """

    target: Target
    payload: bytes = field(repr=False)
    format: str
    toolchain: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    report: Mapping[str, object] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()
