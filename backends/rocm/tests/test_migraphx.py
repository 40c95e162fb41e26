"""Parts through ONNX Runtime's MIGraphX provider: nothing falls back to the CPU unseen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from deepseek_backend_rocm.compiler import compile_model
from deepseek_backend_rocm.devices.migraphx import FORMAT
from deepseek_backend_rocm.runtime import open_artifact
from deepseek_backend_rocm.verification.sampling import Sample, sample
from deepseek_core import Artifact, CompileOptions, Target, Tier
from deepseek_core.errors import BackendError, ConfigError

TARGET = Target("rocm", "gfx942")
CARD = ((("hip:0 (card)", "gfx942"),), "a card")


@pytest.fixture(scope="module")
def unit() -> Sample:
    return sample("Gemm", 0)


@pytest.fixture(scope="module")
def artifact(unit: Sample) -> Artifact:
    return compile_model(unit.model, TARGET, CompileOptions(extra={"runtime": "migraphx"}))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_backend_rocm.runtime.gpus", lambda: CARD)


def pretend(monkeypatch: pytest.MonkeyPatch, took: list[str]) -> None:
    """An ONNX Runtime that lists the provider, and sessions that say who took the model."""
    real = onnxruntime.InferenceSession

    class Session:
        def __init__(self, model: bytes, options: Any, providers: list[str]) -> None:
            assert providers == ["MIGraphXExecutionProvider"]
            self._session = real(model, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return took

        def disable_fallback(self) -> None:
            self._session.disable_fallback()

        def run(self, names: list[str], feeds: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
            return self._session.run(names, feeds)

    module = SimpleNamespace(
        get_available_providers=lambda: ["MIGraphXExecutionProvider", "CPUExecutionProvider"],
        SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=Session,
    )
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", module)


def test_artifact(artifact: Artifact) -> None:
    assert artifact.format == FORMAT
    assert "triton" not in artifact.toolchain


@pytest.mark.usefixtures("card")
def test_no_provider(artifact: Artifact) -> None:
    with pytest.raises(BackendError, match="this ONNX Runtime has no MIGraphX provider; install ROCm with MIGraphX"):
        open_artifact(artifact, None)


def test_no_gpu(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_backend_rocm.runtime.gpus", lambda: ((), "none"))
    with pytest.raises(BackendError, match="there is no gfx942 GPU for MIGraphX"):
        open_artifact(artifact, None)


@pytest.mark.usefixtures("card")
def test_a_fallback_is_refused(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="ONNX Runtime fell back from MIGraphX to CPUExecutionProvider"):
        open_artifact(artifact, None)


@pytest.mark.usefixtures("card")
def test_runs(artifact: Artifact, unit: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ["MIGraphXExecutionProvider", "CPUExecutionProvider"])
    executable = open_artifact(artifact, None)
    assert (executable.tier, executable.device) == (Tier.DEVICE, "hip:0 (card)")
    result = executable.run(unit.feeds(0))
    assert {info.name for info in executable.outputs} == set(result)
    executable.close()
    with pytest.raises(BackendError, match="closed"):
        executable.run(unit.feeds(0))


def test_options(unit: Sample) -> None:
    with pytest.raises(ConfigError, match=r"rocm\.runtime is 'vulkan'; choose one of kernels, migraphx"):
        compile_model(unit.model, TARGET, CompileOptions(extra={"runtime": "vulkan"}))
