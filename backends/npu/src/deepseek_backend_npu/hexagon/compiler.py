"""Compile a part: QNN prepares a context for one version, and the artifact holds it with the host's conversions."""

from __future__ import annotations

from deepseek_backend_npu.hexagon.capabilities import FORMATS, capabilities
from deepseek_backend_npu.hexagon.container import FORMAT, HexagonContainer
from deepseek_backend_npu.hexagon.htp import prepare
from deepseek_backend_npu.hexagon.limits import problem
from deepseek_backend_npu.hexagon.variants import architecture
from deepseek_backend_npu.hexagon.vendor import vendor_part
from deepseek_backend_npu.versions import qnn_version
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target
from deepseek_core.errors import BackendError, ConfigError
from deepseek_core.partition import refusal_reason

__all__ = ["compile_hexagon", "cross_compile_hexagon"]

_CONTEXT = "ep_cache_context"


def compile_hexagon(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """An artifact with QNN's context for one version.

    Raises:
        ConfigError: an option; there are none.
        BackendError: QNN is missing or refuses the part, or taps are asked for.
    """
    version = architecture(target)
    for name in options.extra:
        raise ConfigError(f"{target} has no option '{name}'", fix=f"leave npu.{name} out for Hexagon targets")
    if options.taps:
        raise BackendError("the HTP gives codes only, no values from inside a part", fix="tap them on the cpu backend")
    for unit in model.units():
        reason = refusal_reason(unit, capabilities(target)) or problem(unit)
        if reason is not None:
            raise BackendError(f"'{unit.name}' does not run on {target}: {reason}", fix="place it on another target")
    part = vendor_part(model)
    context = prepare(part.model, version) if part.model else b""
    container = HexagonContainer(
        target.device, model.inputs, model.outputs, part.before, part.after, part.feeds, part.results, context
    )
    toolchain = {"onnxruntime-qnn": qnn_version() or "absent"}
    report: dict[str, object] = {
        "device": target.device,
        "tier": "simulated",
        "context_bytes": len(context),
        "host_conversions": len(part.before) + len(part.after),
    }
    return Artifact(target, container.encode(), FORMAT, toolchain, report=report)


def cross_compile_hexagon(
    model: QuantizedModel, target: Target, format: str, options: CompileOptions
) -> Artifact | None:
    """The context for the device's own runtime; None for another format.

    `ep-context` is ONNX for ONNX Runtime with QNN, `qnn-context` the bytes that the QNN SDK itself loads.

    Raises:
        BackendError: as `compile_hexagon`; nothing of the model runs on the HTP; QNN made several contexts.
    """
    if format not in FORMATS:
        return None
    built = compile_hexagon(model, target, options)
    context = HexagonContainer.decode(built.payload).context
    if not context:
        raise BackendError("nothing of this part runs on the HTP", fix="place units with work on it")
    payload = context if format == "ep-context" else _binary(context)
    return Artifact(target, payload, format, built.toolchain, report=built.report)


def _binary(context: bytes) -> bytes:
    import onnx

    nodes = onnx.ModelProto.FromString(context).graph.node
    if len(nodes) != 1:
        raise BackendError(f"QNN made {len(nodes)} contexts of this part", fix="use the format ep-context")
    return bytes(next(attribute.s for attribute in nodes[0].attribute if attribute.name == _CONTEXT))
