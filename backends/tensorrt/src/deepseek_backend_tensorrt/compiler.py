"""Compile a part: choose kernels, lower, build, and prove what runs on codes."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from deepseek_backend_tensorrt.build import Built, Job, build, failure
from deepseek_backend_tensorrt.claims import problem
from deepseek_backend_tensorrt.container import FORMAT, Container
from deepseek_backend_tensorrt.devices import architecture_of
from deepseek_backend_tensorrt.proof import Proof, prove
from deepseek_backend_tensorrt.settings import Settings
from deepseek_backend_tensorrt.toolchain import BUILDERS, toolchain
from deepseek_backend_tensorrt.tuning import choose, preset
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target
from deepseek_core.errors import BackendError, GateError, ModelError

__all__ = ["ENGINE", "compile_model", "cross_compile"]

ENGINE = "engine"
_SHOWN = 5


def compile_model(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """An artifact with the engine for one architecture, its layers, and the versions that built it.

    Raises:
        ConfigError: an unknown option or value.
        ModelError: a tap names no value.
        BackendError: nothing here builds for the architecture, or TensorRT refuses a unit, which is named.
        GateError: a smaller share of the units than `min_int8` runs on codes.
    """
    built, proof, job = _compile(model, target, options)
    here, settings = toolchain(), job.settings
    container = Container(
        target.device,
        job.product,
        built.version,
        job.model.inputs,
        job.model.outputs,
        built.engine,
        settings.version_compatible,
        here.driver,
        tuple(built.layers),
        {"lanes": settings.lanes, "graphs": settings.graphs},
    )
    report: dict[str, object] = {
        "builder": f"{BUILDERS[job.product]} {built.version}",
        "seconds": built.seconds,
        "engine_bytes": len(built.engine),
        "precision": job.precision,
        "kernels": dict.fromkeys(sorted(job.plain), "float"),
        "int8": proof.to_json(),
    }
    toolchain_ = {} if settings.version_compatible else {BUILDERS[job.product]: built.version}
    return Artifact(target, container.encode(), FORMAT, toolchain_, report=report)


def cross_compile(model: QuantizedModel, target: Target, format: str, options: CompileOptions) -> Artifact | None:
    """The bare engine, as TensorRT's own runtime loads it; None for another format.

    Raises:
        BackendError, GateError: as `compile_model`.
    """
    if format != ENGINE:
        return None
    built, proof, job = _compile(model, target, options)
    report: dict[str, object] = {"int8": proof.to_json(), "layers": list(built.layers)}
    return Artifact(target, built.engine, format, {BUILDERS[job.product]: built.version}, report=report)


def _compile(model: QuantizedModel, target: Target, options: CompileOptions) -> tuple[Built, Proof, Job]:
    architecture, settings = architecture_of(target), Settings.read(options.extra)
    _check_units(model, target)
    product = toolchain().builder(architecture, settings.builder)
    job = Job(_tapped(model, options.taps), target, architecture, product, settings)
    options.progress("choose kernels", 0.0)
    if options.optimize and settings.kernels == "measured":
        job = replace(job, plain=choose(job))
    else:
        job = replace(job, plain=preset(job.model, settings.kernels))
    options.progress(f"build with {BUILDERS[product]}", 0.2)
    try:
        built = build(job)
    except BackendError as error:
        raise failure(job, error) from None
    proof = prove(job.model, built.layers, built.source, job.plain)
    if proof.share < settings.min_int8:
        raise _below(proof, settings.min_int8)
    options.progress("done", 1.0)
    return built, proof, job


def _check_units(model: QuantizedModel, target: Target) -> None:
    for unit in model.units():
        reason = problem(unit, target)
        if reason is not None:
            raise BackendError(f"'{unit.name}' does not run on {target}: {reason}", fix="place it on another target")


def _tapped(model: QuantizedModel, taps: tuple[str, ...]) -> QuantizedModel:
    """A model whose outputs include the taps.

    Raises:
        ModelError: a tap names no float value.
    """
    if not taps:
        return model
    result = model.clone()
    values = {value.name: value for node in result.graph for value in node.outputs}
    values |= {value.name: value for value in result.graph.inputs}
    known = {value.name for value in (*result.graph.outputs, *result.graph.inputs)}
    for tap in dict.fromkeys(taps):
        if tap not in values:
            raise ModelError(f"there is no value '{tap}' to tap", fix="name a value of the model")
        if tap not in known:
            _add_output(result.graph, values[tap])
    return result


def _add_output(graph: ir.Graph, value: ir.Value) -> None:
    graph.outputs.append(value)


def _below(proof: Proof, wanted: float) -> GateError:
    rest = {**proof.missed, **proof.opaque}
    shown = "; ".join(f"{name}: {why}" for name, why in list(rest.items())[:_SHOWN])
    more = f"; and {len(rest) - _SHOWN} more" if len(rest) > _SHOWN else ""
    share = f"{100 * proof.share:.1f} % of the quantized units run on codes, {100 * wanted:.1f} % are asked for"
    return GateError(
        f"{share}: {shown}{more}",
        fix="see the reasons, or lower tensorrt.min_int8",
    )
