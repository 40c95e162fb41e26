"""A small network compiled once for every test that needs a program."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek_backend_npu.compiler import build
from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.lowering import lower
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.verification.networks import residual_network
from deepseek_core import CompileOptions, QuantizedModel

DEVICE = "ethos-u55-128"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path / "cache"))


def _compiled(model: QuantizedModel, device: str = DEVICE, *, every_tensor: bool = False, **extra: str) -> Container:
    settings = Settings.read(extra, DEVICES[device])
    lowered = lower(model, every_tensor=every_tensor)
    return build(lowered, device, DEVICES[device], settings, CompileOptions(optimize=0))[0]


def _random_feeds(model: QuantizedModel, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {info.name: rng.integers(-128, 128, info.shape).astype(info.dtype) for info in model.inputs}


@pytest.fixture(scope="session")
def network() -> QuantizedModel:
    return residual_network(0)


@pytest.fixture(scope="session")
def program(network) -> Container:
    return _compiled(network, every_tensor=True)


@pytest.fixture(scope="session")
def compiled():
    """The function that compiles a model for a variant."""
    return _compiled


@pytest.fixture(scope="session")
def random_feeds():
    """The function that draws random codes for a model's inputs."""
    return _random_feeds
