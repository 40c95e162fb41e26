"""What ONNX Runtime passes of the official ONNX tests, the CPU backend passes too.

ONNX Runtime's own results are taken in the same run, so that the comparison holds for whatever version is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import pytest
from onnx.backend.base import Backend, BackendRep

from deepseek_core.onnx_backend import DeepseekBackend, onnx_backend
from deepseek_core.registry import Registry, discover

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

Cases = Callable[[type[Backend]], Mapping[str, Callable[[], None]]]


class _Runtime(BackendRep):
    def __init__(self, model: onnx.ModelProto) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        payload = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        names = [i.name for i in self._session.get_inputs()]
        return tuple(self._session.run(None, dict(zip(names, inputs, strict=True))))


class OnnxRuntime(Backend):
    """ONNX Runtime as its users call it."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> _Runtime:
        return _Runtime(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


@pytest.fixture(scope="session")
def registry() -> Registry:
    found = discover()
    if "cpu" not in found.backends:
        pytest.skip("the CPU backend is not installed (pip install deepseek-backend-cpu)")
    return found


@pytest.fixture(scope="session")
def backend(registry: Registry) -> type[DeepseekBackend]:
    return onnx_backend("cpu", registry)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:onnx")
def test_official_case(official_case: str, backend: type[DeepseekBackend], official: Cases) -> None:
    try:
        official(OnnxRuntime)[official_case]()
    except Exception as error:  # whatever ONNX Runtime or the runner's comparison raise
        pytest.skip(f"ONNX Runtime itself fails: {type(error).__name__}")
    official(backend)[official_case]()
