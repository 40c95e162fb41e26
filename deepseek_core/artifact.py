"""Artifact: the bytes a backend built, and what a loader must know before it trusts them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_core.errors import PackageError
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
        sha256: of the payload, hex; computed when left out, so that it is taken where the bytes are made.
    """

    target: Target
    payload: bytes = field(repr=False)
    format: str
    toolchain: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    report: Mapping[str, object] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.sha256:
            object.__setattr__(self, "sha256", hashlib.sha256(self.payload).hexdigest())

    def verify(self) -> None:
        """Check the payload against its hash.

        Raises:
            PackageError: the bytes are not those that were built.
        """
        if hashlib.sha256(self.payload).hexdigest() != self.sha256:
            raise PackageError(
                f"artifact for {self.target} is corrupt (SHA-256 differs)",
                fix="compile the model again, or copy it again",
            )
