"""Build an engine from ONNX bytes. Requests and answers are plain JSON values beside the bytes."""

from __future__ import annotations

import time
from typing import Any

from deepseek_backend_tensorrt.vendor import layers
from deepseek_backend_tensorrt.vendor.api import Api, Log, make_log
from deepseek_backend_tensorrt.vendor.failure import VendorError

__all__ = ["build", "supported"]


def build(
    api: Api, model: bytes, request: dict[str, Any], *, present: tuple[int, int] | None, cache: bytes = b""
) -> tuple[bytes, bytes, dict[str, Any]]:
    """An engine.

    Args:
        api: the adapter.
        model: ONNX bytes that hold their weights.
        request: `capability` [major, minor]; `half`, `int8`, `tf32`, `version_compatible`, `hardware_compatible`
            (booleans); `level` (or None); `workspace` in bytes (or None); `without` (sources of kernels to leave out);
            `profiles`: a list of {input name: [smallest, usual, largest shape]}.
        present: compute capability of the GPU in this machine.
        cache: a timing cache of an earlier build.

    Returns:
        The engine, the timing cache as it is now, and a report: `seconds`, `layers`, `version`, `inspector`.

    Raises:
        VendorError: the parser or the builder refuses; `kind` is `build`.
    """
    log = make_log(api.trt)
    builder = _builder(api, log)
    network = _parse(api, builder, model, log)
    config, timings = _configure(api, builder, request, present, cache)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise VendorError(_why(log), "see the unit that is named", "build")
    data = bytes(memoryview(plan))
    report = {"seconds": round(seconds, 3), "version": api.version, **_layers(api, data, log, present)}
    kept = bytes(memoryview(timings.serialize())) if timings is not None else b""
    return data, kept, report


def _builder(api: Api, log: Log) -> Any:
    try:
        return api.trt.Builder(log.logger)
    except TypeError as error:  # what the bindings raise for a null pointer
        raise VendorError(
            f"TensorRT makes no builder: {_why(log)} ({error})", "check the GPU and its driver", "device"
        ) from None


def supported(api: Api, op: str) -> bool:
    """Whether the parser has a word for an ONNX op."""
    log = make_log(api.trt)
    parser = api.trt.OnnxParser(api.create_network(api.trt.Builder(log.logger)), log.logger)
    return bool(parser.supports_operator(op))


def _parse(api: Api, builder: Any, model: bytes, log: Log) -> Any:
    network = api.create_network(builder)
    parser = api.trt.OnnxParser(network, log.logger)
    if not parser.parse(model):
        problems = [api.parser_problem(parser.get_error(number)) for number in range(parser.num_errors)]
        name, text = problems[0] if problems else ("", _why(log))
        raise VendorError(f"the parser refuses '{name}': {text}" if name else f"the parser: {text}", "", "build")
    return network


def _configure(
    api: Api, builder: Any, request: dict[str, Any], present: tuple[int, int] | None, cache: bytes
) -> tuple[Any, Any]:
    trt = api.trt
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request.get("workspace") is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace"])
    if request.get("level") is not None:
        config.builder_optimization_level = request["level"]
    if not request.get("tf32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    api.set_architecture(config, tuple(request["capability"]), present)
    api.set_precisions(config, half=bool(request.get("half")), int8=bool(request.get("int8")))
    api.set_compatibility(
        config, version=bool(request.get("version_compatible")), hardware=bool(request.get("hardware_compatible"))
    )
    api.set_tactics(config, list(request.get("without") or ()))
    for entry in request.get("profiles") or ():
        profile = builder.create_optimization_profile()
        for name, shapes in entry.items():
            profile.set_shape(name, *map(tuple, shapes))
        config.add_optimization_profile(profile)
    return config, _timing_cache(config, cache) if present is not None else None


def _timing_cache(config: Any, cache: bytes) -> Any:
    """The builder's measurements; those of another version or GPU are ignored by TensorRT itself."""
    timings = config.create_timing_cache(cache)
    config.set_timing_cache(timings, False)
    return config.get_timing_cache()


def _layers(api: Api, plan: bytes, log: Log, present: tuple[int, int] | None) -> dict[str, Any]:
    if present is None or api.ahead:
        text = log.text("Layers:") or ""
        return {"inspector": text, "layers": layers.from_log(text), "source": "build log"}
    engine = api.runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise VendorError(f"TensorRT does not open what it built: {_why(log)}", "see what TensorRT says", "build")
    text = api.inspect(engine)
    return {"inspector": text, "layers": layers.from_json(text), "source": "engine inspector"}


def _why(log: Log) -> str:
    return next(iter(log.errors()), "TensorRT gives no reason")
