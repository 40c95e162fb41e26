"""What of a target is here."""

from __future__ import annotations

from deepseek_backend_tensorrt.devices import architecture_of, fits
from deepseek_backend_tensorrt.toolchain import BUILDERS, toolchain
from deepseek_core import Availability, Missing, Target, Tier
from deepseek_core.errors import BackendError

__all__ = ["probe"]


def probe(target: Target) -> Availability:
    """Never raises; a broken TensorRT or driver is told as what is missing."""
    architecture, here = architecture_of(target), toolchain()
    fitting = [found for found in here.gpus if fits(target, found.capability)]
    gpu = fitting[0] if fitting else None
    missing = []
    try:
        here.builder(architecture)
        can_compile = True
    except BackendError as error:
        can_compile = False
        missing.append(Missing(error.message, error.fix))
    if gpu is None:
        others = ", ".join(found.name for found in here.gpus) or here.problems.get("driver", "there is no GPU")
        missing.append(
            Missing(
                f"a GPU of {architecture.short} ({others})", f"run the package on one, such as {architecture.board}"
            )
        )
    can_run = gpu is not None and bool(here.versions)
    versions = ", ".join(f"{BUILDERS[name]} {version}" for name, version in here.versions.items())
    driver = f"CUDA {here.driver}" if here.driver else "no CUDA driver"
    return Availability(
        can_compile=can_compile,
        can_run=can_run,
        missing=tuple(missing),
        detail=", ".join((gpu.name if gpu else "no such GPU", versions or "no TensorRT", driver)),
        toolchain={BUILDERS[name]: version for name, version in here.versions.items()},
        tier=Tier.DEVICE if can_run else None,
        devices=tuple(found.name for found in fitting) if can_run else (),
    )
