"""What an artifact meets on a machine: another GPU, another version, an older driver, shapes it was not built for."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deepseek_backend_tensorrt.container import Container
from deepseek_backend_tensorrt.toolchain import toolchain
from deepseek_core import Artifact, CompileOptions, Target, Tier
from deepseek_core.errors import BackendError, ConfigError, FeedError, PackageError
from deepseek_core.ir import with_input_shapes
from deepseek_core.ir.frontend import load_model
from deepseek_core.package import Package
from deepseek_core.package.verdict import Action, verdict
from deepseek_core.partition import place

TARGET = Target("tensorrt", "sm_90")


@pytest.fixture
def backend(gpu, registry):
    return registry.backend("tensorrt")


@pytest.fixture
def artifact(backend, network) -> Artifact:
    return backend.compile(network, TARGET, CompileOptions(optimize=0))


def _with(artifact: Artifact, **changes: object) -> Artifact:
    container = replace(Container.decode(artifact.payload), **changes)
    return replace(artifact, payload=container.encode(), sha256="")


def test_results_are_the_references_within_one_step(backend, artifact, registry, network, feeds) -> None:
    executable = backend.load(artifact)
    assert executable.tier is Tier.DEVICE
    assert executable.device == "Fake H100"
    found = executable.run(feeds)["y"]
    executable.close()
    reference, target = registry.resolve("reference")
    wanted = reference.load(reference.compile(network, target, CompileOptions())).run(feeds)["y"]
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_another_gpu_is_named(backend, artifact, network) -> None:
    other = _with(replace(artifact, target=Target("tensorrt", "sm_89")), device="sm_89")
    with pytest.raises(BackendError, match=r"no GPU of SM89 here: Fake H100 \(9.0\)"):
        backend.load(other)
    with pytest.raises(PackageError, match="for sm_90, not for sm_89"):
        backend.load(replace(artifact, target=Target("tensorrt", "sm_89")))


def test_another_version_is_named_and_built_again(backend, artifact, registry, network) -> None:
    old = replace(_with(artifact, version="8.5.3"), toolchain={"tensorrt": "8.5.3"})
    with pytest.raises(BackendError, match=r"built with tensorrt 8.5.3, and 8.6.0 is installed") as error:
        backend.load(old)
    assert "version_compatible" in error.value.fix
    package = Package(network, place(network, [(backend, TARGET)]), (old,))
    found = verdict(package, registry)
    assert found.action is Action.REBUILD
    assert "8.5.3" in found.reason
    fine = verdict(Package(network, package.placement, (artifact,)), registry)
    assert fine.action is Action.RUN


def test_a_version_compatible_engine_runs_with_later_versions_of_its_generation(backend, network, feeds) -> None:
    built = backend.compile(network, TARGET, CompileOptions(optimize=0, extra={"version_compatible": "on"}))
    assert built.toolchain == {}
    executable = backend.load(_with(built, version="8.5.3"))
    assert executable.run(feeds)["y"].shape == (1, 10)
    executable.close()
    with pytest.raises(BackendError, match=r"8.9.0, and 8.6.0 is installed"):
        backend.load(_with(built, version="8.9.0"))
    with pytest.raises(BackendError, match=r"7\.2\.3"):
        backend.load(_with(built, version="7.2.3"))


def test_an_older_driver_is_told_to_be_updated(backend, artifact) -> None:
    with pytest.raises(BackendError, match=r"driver for CUDA 14.1, the one here is for 13.0"):
        backend.load(_with(artifact, driver="14.1"))


def test_a_product_that_is_not_here_is_named(backend, artifact, monkeypatch) -> None:
    found = replace(toolchain(), versions={}, problems={"rtx": "not installed"})
    monkeypatch.setattr("deepseek_backend_tensorrt.runtime.toolchain", lambda: found)
    with pytest.raises(BackendError, match=r"needs tensorrt-rtx 8.6.0 \(not installed\)"):
        backend.load(_with(artifact, product="rtx"))


def test_bytes_that_tensorrt_refuses_are_a_package_error(backend, artifact) -> None:
    with pytest.raises(PackageError, match="magic tag"):
        backend.load(_with(artifact, engine=b"not an engine"))


def test_hardware_compatible_engines_run_on_any_later_gpu(backend, network, feeds) -> None:
    target = Target("tensorrt", "sm_80", ("ampere",))
    assert backend.probe(target).can_run
    assert not backend.probe(Target("tensorrt", "sm_80")).can_run
    artifact = backend.compile(network, Target("tensorrt", "sm_90", ("ampere",)), CompileOptions(optimize=0))
    moved = _with(replace(artifact, target=target), device="sm_80")
    executable = backend.load(moved)
    assert executable.run(feeds)["y"].shape == (1, 10)
    executable.close()


@pytest.fixture
def dynamic(tmp_path):
    """Input x [batch, 4], output y: its ReLU."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "d.onnx")
    return load_model(tmp_path / "d.onnx")


@pytest.mark.parametrize("child", [True, False])
def test_shapes_within_a_profile_run_and_others_are_refused(child, request, registry, dynamic) -> None:
    request.getfixturevalue("gpu" if child else "here")
    backend = registry.backend("tensorrt")
    options = CompileOptions(extra={"profile": "x:1x4,2x4,3x4|x:8x4,8x4,9x4"})
    executable = backend.load(backend.compile(dynamic, TARGET, options))
    for batch in (1, 3, 8, 2):
        x = np.arange(4 * batch, dtype=np.float32).reshape(batch, 4) - 3
        np.testing.assert_array_equal(executable.run({"x": x})["y"], np.maximum(x, 0))
    with pytest.raises(FeedError, match=r"\[5, 4\], outside profile 0: \[1, 4\] to \[3, 4\]; .*profile 1"):
        executable.run({"x": np.zeros((5, 4), np.float32)})
    with pytest.raises(FeedError, match=r"takes \[\?, 4\]"):
        executable.run({"x": np.zeros((2, 5), np.float32)})
    executable.close()


def test_a_batch_that_varies_has_limits_of_its_own(backend, dynamic) -> None:
    executable = backend.load(backend.compile(dynamic, TARGET, CompileOptions()))
    for batch in (1, 64):
        assert executable.run({"x": np.zeros((batch, 4), np.float32)})["y"].shape == (batch, 4)
    with pytest.raises(FeedError, match=r"\[65, 4\], outside profile 0: \[1, 4\] to \[64, 4\]"):
        executable.run({"x": np.zeros((65, 4), np.float32)})
    executable.close()


def test_a_shape_that_varies_needs_limits(backend, dynamic) -> None:
    wide = with_input_shapes(dynamic, {"x": (4, "width")})
    with pytest.raises(ConfigError, match=r"shape of input 'x' varies"):
        backend.compile(wide, TARGET, CompileOptions())
    with pytest.raises(ConfigError, match="names 'z'"):
        backend.compile(dynamic, TARGET, CompileOptions(extra={"profile": "z:1x4,1x4,1x4"}))
    with pytest.raises(ConfigError, match="the model"):
        backend.compile(dynamic, TARGET, CompileOptions(extra={"profile": "x:1x5,1x5,1x5"}))
    dynamic.metadata["sample_shapes"] = {"x": [2, 4]}
    executable = backend.load(backend.compile(dynamic, TARGET, CompileOptions()))
    assert executable.run({"x": np.zeros((16, 4), np.float32)})["y"].shape == (16, 4)
    executable.close()


def test_int64_travels_as_int32_where_there_is_nothing_wider(backend, tmp_path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["n", "n"], ["m"], name="add")],
        "integers",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [3])],
        [helper.make_tensor_value_info("m", TensorProto.INT64, [3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "i.onnx")
    executable = backend.load(backend.compile(load_model(tmp_path / "i.onnx"), TARGET, CompileOptions()))
    found = executable.run({"n": np.array([1, -2, 3])})["m"]
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [2, -4, 6])
    with pytest.raises(FeedError, match="int32 does not hold"):
        executable.run({"n": np.array([1, 2, 1 << 40])})
    executable.close()


def test_nothing_installed_is_a_probe_with_its_fix(fresh, registry, monkeypatch) -> None:
    monkeypatch.delenv("DEEPSEEK_TENSORRT_PYTHON", raising=False)
    monkeypatch.setattr("deepseek_backend_tensorrt.toolchain._MODULES", ())
    found = registry.backend("tensorrt").probe(TARGET)
    assert not found.can_compile
    assert not found.can_run
    assert any("tensorrt-rtx" in missing.fix for missing in found.missing)
    assert toolchain().problems
