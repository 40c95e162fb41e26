"""Open ONNX Runtime sessions, all with the settings that keep the numerics what the compiler decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek_core.errors import BackendError

__all__ = ["PROVIDER", "import_runtime", "open_session"]

PROVIDER = "CPUExecutionProvider"
_FATAL_ONLY = 4  # what is an error is raised as well; on stderr it would only repeat it
_SLOWER = ("SkipLayerNormFusion",)
"""Fusions that cost time: SkipLayerNormalization takes 6 to 8 times as long as Add and LayerNormalization
(ONNX Runtime 1.32, 64 × 256 to 512 × 1,024 values)."""

_WRONG_ON_FLOAT8 = ("ClipQuantRewrite", "ReluQuantRewrite")
"""Rewrites that drop a Clip or Relu where saturation in the QuantizeLinear behind it does the same. In front of float8
codes the one refuses the model, the other drops a Relu that is needed (ONNX Runtime 1.32)."""


def import_runtime() -> Any:
    """The `onnxruntime` module.

    Raises:
        BackendError: it is not installed, or its library does not load here.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"ONNX Runtime cannot be imported ({error})", fix="pip install onnxruntime") from None
    if not hasattr(onnxruntime, "InferenceSession"):
        raise BackendError("'onnxruntime' is not ONNX Runtime (a folder of that name?)", fix="pip install onnxruntime")
    return onnxruntime


def open_session(
    payload: bytes,
    *,
    threads: int = 0,
    precise: bool = False,
    float8: bool = False,
    spinning: bool = True,
    optimized: Path | None = None,
) -> Any:
    """A CPU session of a lowered model.

    ONNX Runtime's own search for Q/DQ patterns is off: the compiler has chosen which units are integer, and the
    dequantization of the other units' weights is folded at load.

    Args:
        threads: 0 for the runtime's choice.
        precise: let the runtime keep the integer ops that the model came with from saturating.
        float8: whether the model quantizes anything to float8.
        spinning: threads without work wait in a busy loop: microseconds faster, and a core each while other code runs.
        optimized: where to write the graph that is really run.
    """
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.x64quantprecision", str(int(precise)))
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return runtime.InferenceSession(
        payload,
        options,
        providers=[PROVIDER],
        disabled_optimizers=[*_SLOWER, *(_WRONG_ON_FLOAT8 if float8 else ())],
        enable_fallback=0,
        read_config_from_model=0,
    )
