from __future__ import annotations

import numpy as np
import onnx
import pytest

from deepseek_backend_cpu import compiler, saturation
from deepseek_backend_cpu.host import architecture, features, runtime_version
from deepseek_core import CompileOptions, Target
from deepseek_core.errors import BackendError, ConfigError


@pytest.fixture
def perceptron(builder):
    x = builder.q(builder.input("x", (2, 8)), 0.02, 3)
    generator = np.random.default_rng(0)
    for index in range(3):
        weight = builder.weight(generator.integers(-127, 128, (8, 8)).astype(np.int8), 0.004)
        product = builder.op("Gemm", builder.dq(x, 0.02, 3), weight, name=f"fc{index}")
        x = builder.q(builder.op("Relu", product), 0.02, 3)
    builder.output(builder.dq(x, 0.02, 3), "y")
    return builder.model()


def test_the_artifact_says_what_it_is(cpu, perceptron) -> None:
    artifact = cpu.compile(perceptron, "int8")
    assert (artifact.target, artifact.format) == (cpu.target, "onnx")
    assert dict(artifact.toolchain) == {"onnxruntime": runtime_version()}
    assert artifact.requires == ()
    onnx.checker.check_model(onnx.load_from_string(artifact.payload))


def test_the_report_has_a_kernel_for_each_quantized_unit(cpu, perceptron) -> None:
    report = cpu.compile(perceptron).report
    assert set(report["kernels"]) == {unit.name for unit in perceptron.units() if unit.is_quantized}
    for index in range(3):
        entry = report["kernels"][f"fc{index}"]
        assert entry["kernel"] in ("int8", "float32")
        assert entry["int8_us"] > 0
        assert entry["float32_us"] > 0
    assert report["basis"] == "measured"
    assert report["threads"] == 1


def test_the_operators_are_those_that_really_run(cpu, perceptron) -> None:
    assert cpu.compile(perceptron, "int8").report["operators"]["QGemm"] == 3
    floating = cpu.compile(perceptron, "float32").report["operators"]
    assert "QGemm" not in floating
    assert floating.get("Gemm", 0) + floating.get("FusedGemm", 0) == 3


@pytest.mark.parametrize("kernels", ["int8", "float32", "measured"])
def test_kernels_do_not_change_the_answer(cpu, perceptron, feeds_of, kernels) -> None:
    for seed in range(5):
        feeds = feeds_of(perceptron, seed)
        found, expected = cpu.run(perceptron, feeds, kernels)["y"], cpu.expected(perceptron, feeds)["y"]
        np.testing.assert_allclose(found, expected, atol=0.0 if kernels == "int8" else 3 * 0.02)


def test_without_a_search_every_integer_kernel_is_taken(cpu, perceptron) -> None:
    artifact = cpu.backend.compile(perceptron, cpu.target, CompileOptions(optimize=0))
    assert artifact.report["basis"] == "preset"
    assert {entry["kernel"] for name, entry in artifact.report["kernels"].items() if name.startswith("fc")} == {"int8"}


def test_what_is_only_looked_at_is_opened_once_with_threads_that_sleep(cpu, perceptron, monkeypatch) -> None:
    opened = []
    runtime, known = "deepseek_backend_cpu.saturation.open_session", saturation.open_session
    saturation.saturates()  # asks once, with a session of its own
    monkeypatch.setattr(runtime, lambda payload, **options: (opened.append(options), known(payload, **options))[1])
    for level in (0, 1):
        artifact = cpu.backend.compile(
            perceptron, cpu.target, CompileOptions(optimize=level, extra={"kernels": "int8"})
        )
        cpu.backend.load(artifact)
        assert ("operators" in artifact.report) is (level > 0)
        assert opened[-1]["spinning"] is (level > 0)
        assert len(opened) == 1 + level
        opened.clear()


def test_unknown_options_are_refused(cpu, perceptron) -> None:
    with pytest.raises(ConfigError, match="no option 'colour'"):
        cpu.backend.compile(perceptron, cpu.target, CompileOptions(extra={"colour": "red"}))
    with pytest.raises(ConfigError, match="kernels='fastest'"):
        cpu.compile(perceptron, "fastest")


def test_another_architecture_is_compiled_for_by_estimate(cpu, perceptron) -> None:
    other = Target("cpu", "aarch64" if architecture() == "x86_64" else "x86_64")
    artifact = cpu.backend.compile(perceptron, other, CompileOptions())
    assert artifact.target == other
    assert artifact.report["basis"] == "analytic"
    assert "operators" not in artifact.report
    assert artifact.toolchain == {}
    assert artifact.report["kernels"]["fc0"]["kernel"] == "int8"


def test_compiling_needs_no_runtime(cpu, perceptron, monkeypatch) -> None:
    monkeypatch.setattr(compiler, "runtime_version", lambda: None)
    monkeypatch.setattr("deepseek_backend_cpu.session.import_runtime", lambda: pytest.fail("imported"))
    artifact = cpu.backend.compile(perceptron, cpu.target, CompileOptions())
    assert artifact.report["basis"] == "analytic"
    assert artifact.payload


def test_features_of_the_target_are_required_of_the_machine(cpu, perceptron) -> None:
    if not features():
        pytest.skip("this system does not list CPU features")
    target = Target(cpu.target.backend, cpu.target.device, features()[:1])
    assert cpu.backend.compile(perceptron, target, CompileOptions(optimize=0)).requires == features()[:1]


def test_a_model_the_runtime_cannot_run_is_an_error_of_one_line(cpu, builder) -> None:
    builder.output(builder.op("NoSuchOp", builder.input("x", (2,))), "y")
    with pytest.raises(BackendError, match="ONNX Runtime refuses the model") as caught:
        cpu.compile(builder.model())
    assert "\n" not in str(caught.value)


def test_progress_is_told(cpu, perceptron) -> None:
    told = []
    cpu.compile(perceptron, progress=lambda what, fraction: told.append((what, fraction)))
    assert any("fc1" in what for what, _ in told)
    assert all(0 <= fraction <= 1 for _, fraction in told)


def test_a_float_model_passes_through(cpu, builder, feeds_of) -> None:
    builder.output(builder.op("Exp", builder.op("Neg", builder.input("x", (2, 3)))), "y")
    model = builder.model()
    artifact = cpu.compile(model)
    assert artifact.report["kernels"] == {}
    assert [node.op_type for node in onnx.load_from_string(artifact.payload).graph.node] == ["Neg", "Exp"]
    feeds = feeds_of(model)
    np.testing.assert_allclose(cpu.run(model, feeds, None)["y"], np.exp(-feeds["x"]), rtol=1e-6)


def test_a_part_too_large_for_a_file_is_refused(cpu, perceptron, monkeypatch) -> None:
    monkeypatch.setattr("deepseek_backend_cpu.tuning.measurer._LARGEST", 100)
    with pytest.raises(BackendError, match="GB of constants"):
        cpu.compile(perceptron, "int8")
