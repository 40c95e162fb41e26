"""One build in the child process, with shapes, precisions and the timing cache; and what failed if it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepseek_backend_tensorrt import timing
from deepseek_backend_tensorrt.bisect import failing_unit
from deepseek_backend_tensorrt.child import shared
from deepseek_backend_tensorrt.devices import AMPERE, Architecture
from deepseek_backend_tensorrt.lowering import Lowering, lower
from deepseek_backend_tensorrt.settings import AUTO, Settings
from deepseek_backend_tensorrt.shapes import profiles
from deepseek_backend_tensorrt.toolchain import toolchain
from deepseek_core import QuantizedModel, Target
from deepseek_core.errors import BackendError, DeepseekError

__all__ = ["Built", "Job", "build", "failure"]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be built.

    Attributes:
        plain: quantized units that are to run in float.
    """

    model: QuantizedModel
    target: Target
    architecture: Architecture
    product: str
    settings: Settings
    plain: frozenset[str] = frozenset()

    @property
    def precision(self) -> str:
        """What units in float compute in: TensorRT-RTX has no float32 products for Turing."""
        if self.settings.precision != AUTO:
            return self.settings.precision
        return "float16" if self.product == "rtx" and self.architecture.capability < (8, 0) else "float32"


@dataclass(frozen=True, slots=True)
class Built:
    """An engine and what TensorRT says about it.

    Attributes:
        layers: see `vendor.layers`.
        source: where they were read: `engine inspector` or `build log`.
    """

    engine: bytes
    version: str
    seconds: float
    layers: Sequence[Mapping[str, Any]]
    source: str


def build(job: Job) -> Built:
    """Build an engine.

    Raises:
        BackendError: TensorRT refuses the model, or its process died over it.
    """
    here, settings = toolchain(), job.settings
    version = here.versions[job.product]
    gpu = here.gpu(job.architecture)
    device = gpu.name if gpu is not None else job.target.device
    typed = not (job.product == "tensorrt" and version.startswith("8."))
    half = job.precision == "float16"
    lowering = Lowering(21 if typed else 17, typed=typed, half=half, plain=job.plain)
    model = lower(job.model, lowering)
    request = {
        "capability": list(job.architecture.capability),
        "half": half,
        "int8": model.has_codes,
        "tf32": job.precision == "tf32",
        "level": settings.level,
        "workspace": settings.workspace,
        "without": list(settings.without),
        "profiles": profiles(job.model, settings.profile),
        "version_compatible": settings.version_compatible,
        "hardware_compatible": AMPERE in job.target.features,
    }
    cache = timing.load(job.product, version, device) if settings.cache else b""
    body = {"do": "build", "product": job.product, "device": gpu.number if gpu else None, "request": request}
    try:
        report, (engine, timings) = shared().ask(body, [model.data, cache])
    except BackendError:
        if not cache:
            raise
        report, (engine, timings) = shared().ask(body, [model.data, b""])  # a cache may hide the reason, or be it
    if settings.cache and timings:
        timing.save(job.product, version, device, timings)
    return Built(engine, report["version"], report["seconds"], report["layers"], report["source"])


def failure(job: Job, error: BackendError) -> BackendError:
    """The same error with the unit that TensorRT stumbles over, where building parts of the model shows it."""

    def builds(part: QuantizedModel) -> bool:
        names = {unit.name for unit in part.units()}
        try:
            build(replace(job, model=part, plain=job.plain & names))
        except DeepseekError:
            return False
        return True

    unit = failing_unit(job.model, builds)
    if unit is None:
        return error
    op = next(found.op for found in job.model.units() if found.name == unit)
    return BackendError(f"TensorRT does not build '{unit}' ({op}): {error.message}", fix="place it on another target")
