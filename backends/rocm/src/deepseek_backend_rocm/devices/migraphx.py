"""A part as an ONNX model, run by ONNX Runtime's MIGraphX provider where the user has it (ROCm's own compiler).

The provider's wheels import and list it without ROCm, and then run on the CPU without a word: a session counts only if
it says itself that MIGraphX has it, and if nothing may fall back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Feeds, QuantizedModel, Tier
from deepseek_core.errors import BackendError

__all__ = ["FORMAT", "MigraphxExecutable"]

FORMAT = "rocm-migraphx"
"""Of an artifact whose payload is an ONNX model."""
_PROVIDER = "MIGraphXExecutionProvider"
_FIX = "install ROCm with MIGraphX and onnxruntime-migraphx, or compile without rocm.runtime=migraphx"


class MigraphxExecutable:
    """An ONNX model on an AMD GPU; several threads may run it.

    Args:
        model: the ONNX model.
        device: name of the GPU.

    Raises:
        BackendError: there is no ONNX Runtime with the provider, or the provider does not take the whole model.
    """

    tier = Tier.DEVICE

    def __init__(self, model: bytes, device: str) -> None:
        import onnx
        import onnx_ir as ir

        self.device = device
        whole = QuantizedModel(ir.from_proto(onnx.ModelProto.FromString(model)))
        self.inputs, self.outputs = whole.inputs, whole.outputs
        self._session: Any = _opened(model)

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: the GPU failed or is lost, or the executable is closed.
        """
        if self._session is None:
            raise BackendError("the executable is closed", fix="load the artifact again")
        names = [info.name for info in self.outputs]
        try:
            results = self._session.run(names, {info.name: np.asarray(feeds[info.name]) for info in self.inputs})
        except Exception as error:  # whatever its runtime raises
            text = f"MIGraphX failed: {str(error).strip()[:200]}"
            raise BackendError(
                text, fix="see the kernel log of the GPU's driver, then load the artifact again"
            ) from None
        return dict(zip(names, results, strict=True))

    def close(self) -> None:
        """Calling twice is harmless."""
        self._session = None


def _opened(model: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise BackendError("ONNX Runtime with the MIGraphX provider is not installed", fix=_FIX) from None
    if _PROVIDER not in onnxruntime.get_available_providers():
        raise BackendError("this ONNX Runtime has no MIGraphX provider", fix=_FIX)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[_PROVIDER])
    except Exception as error:  # whatever its runtime raises
        raise BackendError(f"MIGraphX does not take the part: {str(error).strip()[:200]}", fix=_FIX) from None
    if session.get_providers()[:1] != [_PROVIDER]:
        found = ", ".join(session.get_providers())
        raise BackendError(f"ONNX Runtime fell back from MIGraphX to {found}", fix=_FIX)
    session.disable_fallback()
    return session
