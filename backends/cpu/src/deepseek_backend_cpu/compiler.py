"""Compile: choose kernels, lower, and check that ONNX Runtime takes the result."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx_ir as ir

from deepseek_backend_cpu.float8 import uses_float8
from deepseek_backend_cpu.host import architecture, runtime_version
from deepseek_backend_cpu.kernels import FLOAT32, INT8, kernel_names
from deepseek_backend_cpu.lowering import expose, integer_problem, lower, normalize
from deepseek_backend_cpu.runtime import one_line
from deepseek_backend_cpu.saturation import open_exact
from deepseek_backend_cpu.tuning.choose import EXACT, Choice, choose, preset
from deepseek_backend_cpu.tuning.measurer import serialize
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target
from deepseek_core.errors import BackendError, ConfigError

__all__ = ["compile_model"]

_MEASURED = "measured"
_KERNELS = (_MEASURED, INT8, EXACT, FLOAT32)


def compile_model(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """An ONNX model that runs the same on every CPU of the target's architecture.

    `options.extra` may have `kernels`: `measured` (default), `int8` (integer operators wherever there are any), `exact`
    (default at level 0: integer operators wherever they round as the IR does) or `float32`.

    Raises:
        ConfigError: an unknown extra option or value.
        ModelError: a tap names no value.
        BackendError: ONNX Runtime refuses the model. At level 0 only operators that nobody knows are asked about here,
            all else is left to `load`: a model that is compiled to be looked at once is opened once.
    """
    mode = _mode(options)
    here = target.device == architecture() and runtime_version() is not None
    work = model.clone()
    expose(work, options.taps)
    normalize(work, x86=target.device == "x86_64")
    choice = choose(work, target, options, here=here) if mode == _MEASURED else preset(work, mode)
    report = _report(work, choice, options)
    lower(work, choice.integer)
    payload = serialize(work)
    if here and (options.optimize or _has_foreign_op(work)):
        report["operators"] = _operators(payload, options.threads, float8=report["float8"])
    version = runtime_version()
    toolchain = {"onnxruntime": version} if here and version is not None else {}
    return Artifact(target, payload, "onnx", toolchain, requires=target.features, report=report)


def _has_foreign_op(model: QuantizedModel) -> bool:
    import onnx.defs

    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    return any(node.domain != "com.microsoft" and not onnx.defs.has(node.op_type, node.domain) for node in nodes)


def _mode(options: CompileOptions) -> str:
    unknown = sorted(set(options.extra) - {"kernels"})
    if unknown:
        raise ConfigError(f"the cpu backend has no option '{unknown[0]}'", fix="it has one: kernels")
    mode = options.extra.get("kernels", _MEASURED if options.optimize else EXACT)
    if mode not in _KERNELS:
        raise ConfigError(f"kernels='{mode}'", fix=f"choose one of {', '.join(_KERNELS)}")
    return mode


def _report(model: QuantizedModel, choice: Choice, options: CompileOptions) -> dict[str, Any]:
    """Kernel and reason of each quantized unit, and the measurements behind them, in microseconds."""
    kernels = {}
    for unit in model.all_units():
        if unit.is_quantized:
            integer = kernel_names(unit, normalized=True)[0]
            entry: dict[str, object] = {"kernel": integer if unit.name in choice.integer else FLOAT32}
            problem = integer_problem(unit, normalized=True)
            if problem is not None:
                entry["reason"] = problem
            latencies = choice.latencies.get(unit.name, {})
            entry |= {f"{name}_us": round(seconds * 1e6, 2) for name, seconds in latencies.items()}
            kernels[unit.name] = entry
    whole = {name: round(seconds * 1e6, 1) for name, seconds in choice.whole.items()}
    basis = str(choice.basis) if choice.basis is not None else "preset"
    settings = {"threads": options.threads, "spinning": options.optimize > 0, "float8": uses_float8(model)}
    return {**settings, "basis": basis, "kernels": kernels, "whole_us": whole}


def _operators(payload: bytes, threads: int, *, float8: bool) -> dict[str, int]:
    """Operators of the graph that ONNX Runtime really runs, counted; opening it also shows that it can."""
    import onnx_ir as ir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        try:
            open_exact(payload, threads=threads, float8=float8, optimized=path)
        except BackendError:
            raise
        except Exception as error:  # ONNX Runtime has one exception class for each status code
            raise BackendError(
                f"ONNX Runtime refuses the model ({one_line(error)})", fix="place the node on another target"
            ) from error
        model = ir.load(path)
        return dict(sorted(Counter(node.op_type for graph in model.graphs() for node in graph).items()))
