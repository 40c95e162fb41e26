"""Holds the kernels of random units, emulated, against the reference backend: bit for bit, or as far as is declared."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from deepseek_backend_rocm.compiler import build_image
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.expectations import expectations
from deepseek_backend_rocm.program import Image
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_backend_rocm.verification.sampling import Sample, sample
from deepseek_core import Backend, CompileOptions, Target, discover
from deepseek_core.errors import DeepseekError

__all__ = ["Verdict", "check", "compiled", "run"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a unit.

    Attributes:
        text: the unit.
        refused: why the backend does not run it; empty where it does.
        different: elements that are not the reference's.
        wrong: elements that are further from them than the backend declares.
        elements: of the outputs.
    """

    text: str
    refused: str = ""
    different: int = 0
    wrong: int = 0
    elements: int = 0


def compiled(unit: Sample, architecture: str) -> Image:
    """The unit's image for one architecture.

    Raises:
        DeepseekError: the backend refuses it.
    """
    return build_image(unit.model, _target(architecture), CompileOptions())


def run(image: Image, architecture: str, feeds: dict[str, Array]) -> dict[str, Array]:
    """Outputs on the emulator."""
    executable = RocmExecutable(image, EmulatedDevice(architecture))
    try:
        return executable.run(feeds)
    finally:
        executable.close()


def check(kind: str, seed: int, architecture: str) -> Verdict:
    """Compile the unit of a seed, emulate it, and compare."""
    unit = sample(kind, seed)
    text = f"{kind} {seed}:{unit.text}"
    feeds = unit.feeds(seed)
    try:
        image = compiled(unit, architecture)
    except DeepseekError as error:
        return Verdict(text, error.message)
    actual = run(image, architecture, feeds)
    backend, target = _reference()
    expected = backend.load(backend.compile(unit.model, target, CompileOptions())).run(feeds)
    allowed = max(expectations(_target(architecture)).tolerance(inner.op).lsb for inner in unit.model.units())
    apart = [np.abs(actual[name].astype(np.int64) - array) for name, array in expected.items()]
    different, wrong = (sum(int(np.count_nonzero(a > most)) for a in apart) for most in (0, allowed))
    return Verdict(text, "", different, wrong, sum(array.size for array in expected.values()))


def _target(architecture: str) -> Target:
    return Target("rocm", architecture)


@functools.cache
def _reference() -> tuple[Backend, Target]:
    return discover().resolve("reference")
