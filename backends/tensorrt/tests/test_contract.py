"""Each adapter keeps to the surface of its bindings, from building to timing."""

import json

import numpy as np
import pytest

from deepseek_backend_tensorrt.toolchain import toolchain
from deepseek_core import CompileOptions, Target
from deepseek_core.errors import BackendError

from .conftest import SURFACES

VERSIONS = ("8.6.0", "10.0.1", "10.16.1.11", "11.0.0.114", "11.4.0.106")
TARGET = Target("tensorrt", "sm_90")
MEMBERS = {
    "Builder": "build_serialized_network create_builder_config create_network create_optimization_profile",
    "IBuilderConfig": "set_flag clear_flag create_timing_cache set_timing_cache builder_optimization_level",
    "ICudaEngine": "get_tensor_name get_tensor_dtype get_tensor_mode get_tensor_profile_shape create_engine_inspector",
    "IExecutionContext": "execute_async_v3 set_tensor_address set_input_shape get_tensor_shape profiler",
    "OnnxParser": "parse num_errors get_error",
}


@pytest.fixture(params=VERSIONS)
def version(request, gpu, monkeypatch) -> str:
    monkeypatch.setenv("FAKE_TENSORRT_SURFACE", str(SURFACES / f"{request.param}.json"))
    return request.param


def test_an_engine_is_built_run_and_timed_within_the_surface(version, registry, network, feeds) -> None:
    backend = registry.backend("tensorrt")
    assert toolchain().versions["tensorrt"] == version
    artifact = backend.compile(network, TARGET, CompileOptions(extra={"precision": "float32", "level": "1"}))
    assert artifact.toolchain == {"tensorrt": version}
    executable = backend.load(artifact)
    outputs = executable.run(feeds)
    assert len(executable.time({"x": (1, 3, 16, 16)}, rounds=3)) == 3
    executable.close()
    assert outputs["y"].shape == (1, 10)
    assert np.isfinite(outputs["y"]).all()


@pytest.mark.parametrize("product", [*VERSIONS, "rtx-1.7.1.116"])
def test_what_no_fake_stands_for_is_in_the_surface_too(product) -> None:
    classes = json.loads((SURFACES / f"{product}.json").read_text())["classes"]
    for name, members in MEMBERS.items():
        assert set(members.split()) <= set(classes[name]), name


def test_only_the_old_generation_calibrates(version, registry, network, feeds) -> None:
    from deepseek_backend_tensorrt.child import shared
    from deepseek_backend_tensorrt.lowering import Lowering, lower

    if version.startswith("8."):
        return  # needs TensorRT itself
    body = {"do": "calibrate", "product": "tensorrt", "feeds": ["x"]}
    with pytest.raises(BackendError, match="no calibrators"):
        shared().ask(body, [lower(network, Lowering()).data, feeds["x"]])


def test_a_surface_that_lacks_something_is_noticed(gpu, registry, network, tmp_path, monkeypatch) -> None:
    surface = json.loads((SURFACES / "8.6.0.json").read_text())
    surface["classes"]["IBuilderConfig"].remove("create_timing_cache")
    (tmp_path / "less.json").write_text(json.dumps(surface))
    monkeypatch.setenv("FAKE_TENSORRT_SURFACE", str(tmp_path / "less.json"))
    with pytest.raises(RuntimeError, match="create_timing_cache"):
        registry.backend("tensorrt").compile(network, TARGET, CompileOptions(optimize=0))
