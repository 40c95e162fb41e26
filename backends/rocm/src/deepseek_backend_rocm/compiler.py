"""Compile a part: plan it once, choose its kernels for each architecture, put everything into one artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from deepseek_backend_rocm import __version__
from deepseek_backend_rocm.capabilities import capabilities
from deepseek_backend_rocm.container import FORMAT, encode
from deepseek_backend_rocm.devices.migraphx import FORMAT as MIGRAPHX
from deepseek_backend_rocm.lowering import lower
from deepseek_backend_rocm.lowering.paths import objection
from deepseek_backend_rocm.plan.bind import Codes, bind
from deepseek_backend_rocm.plan.steps import Place, Plan
from deepseek_backend_rocm.program import Image, Port
from deepseek_backend_rocm.selection.choose import Choice, Chooser
from deepseek_backend_rocm.selection.timing import present_device
from deepseek_backend_rocm.settings import Settings
from deepseek_backend_rocm.targets import ARCHITECTURES
from deepseek_backend_rocm.toolchain import TRITON, require
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target
from deepseek_core.errors import BackendError

__all__ = ["build_image", "compile_model", "plan"]


def compile_model(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """An artifact with the part's launches and code objects.

    Raises:
        ConfigError: an unknown option.
        BackendError: Triton is missing, a unit that the target does not run, or taps are asked for.
    """
    if Settings.read(target, options).runtime == "migraphx":
        return _as_onnx(model, target, options)
    image = build_image(model, target, options)
    toolchain = {"deepseek-backend-rocm": __version__, "triton": TRITON}
    return Artifact(target, encode(image), FORMAT, toolchain, report=dict(image.report))


def _as_onnx(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """The part as it is, of units that are claimed; another compiler does the rest when it is opened."""
    plan(model, target, options)
    payload = bytes(ir.to_proto(model.model).SerializeToString(deterministic=True))
    return Artifact(target, payload, MIGRAPHX, {"deepseek-backend-rocm": __version__})


def build_image(model: QuantizedModel, target: Target, options: CompileOptions) -> Image:
    """The compiled part as data; the model is left unchanged."""
    settings = Settings.read(target, options)
    planned = plan(model, target, options)
    require()
    codes, programs, report = Codes(), {}, dict(planned.report)
    for architecture in settings.architectures:
        choices = _choices(planned, architecture, options)
        launches = [launch for choice in choices for launch in choice.launches]
        programs[architecture] = bind(launches, planned.arena, codes)
        report[architecture] = _summary(planned, choices)
    inputs, outputs = (tuple(map(_port, places)) for places in (planned.inputs, planned.outputs))
    return Image(inputs, outputs, programs, planned.constants, codes.all(), report)


def plan(model: QuantizedModel, target: Target, options: CompileOptions) -> Plan:
    """The steps of a part, before kernels are chosen.

    Raises:
        BackendError: units that the target does not run, all of them, or taps are asked for.
    """
    if options.taps:
        raise BackendError("kernels of the rocm backend give no values from inside", fix="tap them on the cpu backend")
    table = capabilities(target)
    reasons = {unit.name: objection(unit, table) for unit in model.units()}
    refused = [f"'{name}': {reason}" for name, reason in reasons.items() if reason is not None]
    if refused:
        raise BackendError(f"{target} does not run {'; '.join(refused)}", fix="place them on another target")
    return lower(model, options)


def _choices(planned: Plan, architecture: str, options: CompileOptions) -> list[Choice]:
    timer = present_device(architecture) if options.optimize else None
    device = "" if timer is None else timer.name
    chooser = Chooser(ARCHITECTURES[architecture], timer, device, search=options.optimize > 0)
    choices = []
    try:
        for number, step in enumerate(planned.steps):
            options.progress(f"rocm: kernels for {architecture}", number / len(planned.steps))
            choices.append(chooser.choose(step))
    finally:
        if timer is not None:
            timer.close()
    chooser.save()
    return choices


def _port(place: Place) -> Port:
    return Port(place.name, place.dtype, place.shape, place.buffer.place)


def _summary(planned: Plan, choices: Sequence[Choice]) -> dict[str, Any]:
    """What people want to know of an architecture's kernels."""
    launches = [built for choice in choices for _, built in choice.launches]
    return {
        "kernels": dict(sorted(Counter(built.variant.name for built in launches).items())),
        "launches": len(launches),
        "code_bytes": sum({built.variant: len(built.code) for built in launches}.values()),
        "seconds": sum(choice.seconds for choice in choices),
        "basis": sorted({choice.basis for choice in choices}),
        "matrix_macs": sum(step.macs for step in planned.steps),
    }
