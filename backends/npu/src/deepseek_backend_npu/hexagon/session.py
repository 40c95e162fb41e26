"""Sessions of ONNX Runtime with the QNN plugin, for the child processes alone: the plugin prints, and may die.

Nothing falls back to the CPU: ONNX Runtime is told to refuse that, and who runs what is asserted besides.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["checked_session", "devices", "session_options"]

_PROVIDER = "QNNExecutionProvider"
_FATAL_ONLY = 4


def session_options(version: bytes) -> Any:
    """Options for one `htp_arch`. Graphs are run as written: what ONNX Runtime fuses, QNN may not know."""
    import onnxruntime
    import onnxruntime_qnn

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    backend = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "htp_arch": version.decode()}
    options.add_provider_for_devices(devices(), {**backend, "offload_graph_io_quantization": "0"})
    return options


def checked_session(model: bytes, options: Any) -> Any:
    """A session of which every node is QNN's.

    Raises:
        RuntimeError: some node is another's.
    """
    import onnxruntime

    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(model, options)
    others = {part.ep_name for part in session.get_provider_graph_assignment_info()} - {_PROVIDER}
    if others:
        raise RuntimeError(f"parts of the graph are assigned to {', '.join(sorted(others))}")
    return session


@functools.cache
def devices() -> list[Any]:
    """The plugin's devices; registers it first."""
    import onnxruntime
    import onnxruntime_qnn

    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    onnxruntime.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == _PROVIDER]
