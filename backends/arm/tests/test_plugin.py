"""Targets, options, kernels, and what is said where something is missing."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from deepseek_backend_arm import emulator, probe, toolchain
from deepseek_backend_arm.container import Container
from deepseek_backend_arm.server import Server
from deepseek_core import CompileOptions, discover
from deepseek_core.errors import BackendError, ConfigError, TargetError
from deepseek_core.ir.frontend import load_model

_OPSET = helper.make_opsetid("", 21)


def test_targets_are_listed_and_others_refused() -> None:
    registry = discover()
    assert str(registry.resolve("arm64")[1]) == "arm:arm64"
    assert str(registry.resolve("cortex-a76")[1]) == "arm:cortex-a76"
    with pytest.raises(TargetError, match="arm:cortex-a99"):
        registry.resolve("arm:cortex-a99")
    backend, target = registry.resolve("arm:cortex-a72+sve")
    with pytest.raises(TargetError, match="it has arm:cortex-a72"):
        backend.capabilities(target)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CompileOptions(extra={"speed": "1"}), "no option 'speed'"),
        (CompileOptions(extra={"kernels": "eights"}), "arm.kernels=eights"),
        (CompileOptions(threads=65), "65 threads"),
    ],
)
def test_options_are_checked(network, options, said) -> None:
    backend, target = discover().resolve("arm64")
    with pytest.raises(ConfigError, match=said):
        backend.compile(network, target, options)


def test_both_ways_to_a_compiler_are_named(monkeypatch, network) -> None:
    monkeypatch.setattr(toolchain, "_found", lambda: None)
    monkeypatch.setattr(emulator.shutil, "which", lambda _: None)
    backend, target = discover().resolve("arm64")
    here = backend.probe(target)
    assert (here.can_compile, here.can_run) == (True, False)
    fixes = " ".join(missing.fix for missing in here.missing)
    assert "gcc-aarch64-linux-gnu" in fixes
    assert "pip install ziglang" in fixes
    assert "qemu-user" in fixes
    backend.compile(network, target, CompileOptions())
    with pytest.raises(BackendError, match="no C compiler"):
        backend.cross_compile(network, target, "bin", CompileOptions())


def test_every_refused_unit_is_named_at_once() -> None:
    backend, target = discover().resolve("arm64")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])]
    inputs.append(helper.make_tensor_value_info("t", TensorProto.INT64, [4]))
    nodes = [
        helper.make_node("Det", ["x"], ["d"], name="det"),
        helper.make_node("NegativeLogLikelihoodLoss", ["x", "t"], ["e"], name="loss"),
        helper.make_node("Add", ["d", "e"], ["y"], name="add"),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])]
    model = helper.make_model(helper.make_graph(nodes, "odd", inputs, outputs), opset_imports=[_OPSET], ir_version=10)
    with pytest.raises(BackendError) as caught:
        backend.compile(load_model(model), target, CompileOptions())
    assert "'det': there is no kernel for Det" in caught.value.message
    assert "'loss': there is no kernel for NegativeLogLikelihoodLoss" in caught.value.message
    assert "add" not in caught.value.message


def test_kernels_of_a_unit_have_estimates_with_their_basis(network) -> None:
    backend, target = discover().resolve("arm:cortex-a72")
    found = {unit.name: backend.kernels(unit, target) for unit in network.units()}
    names = {name: [candidate.name for candidate in candidates] for name, candidates in found.items()}
    assert names["c2"] == ["depthwise"]
    assert sorted(names["c3"]) == ["fours", "pairs"]
    assert {c.estimate.basis for candidates in found.values() for c in candidates} == {"analytic"}
    backend, target = discover().resolve("arm:cortex-a76")
    assert {c.name for c in backend.kernels(network.units()[1], target)} == {"sdot-5x16", "sdot-8x8"}


def test_a_server_that_dies_is_one_error_and_starts_again(network, toolchain, sample, expected) -> None:
    backend, target = discover().resolve("arm64")
    executable = backend.load(backend.compile(network, target, CompileOptions()))
    server = executable._runner
    assert isinstance(server, Server)
    executable.run({"x": sample})
    server._process.kill()
    server._process.wait()
    with pytest.raises(BackendError, match="ended unexpectedly"):
        executable.run({"x": sample})
    assert (executable.run({"x": sample})["y"] == expected).all()
    executable.close()


def test_a_cpu_without_the_instruction_set_refuses(network, toolchain) -> None:
    from deepseek_backend_arm.build import runtime_folder

    backend, target = discover().resolve("arm:cortex-a76")
    container = Container.decode(backend.compile(network, target, CompileOptions()).payload)
    server = Server([str(emulator.find_qemu()), "-cpu", "cortex-a72", str(runtime_folder() / "serve")])
    with pytest.raises(BackendError, match="lacks an instruction set"):
        server.load(container)
    server.close()


def test_the_probe_names_what_is_here() -> None:
    _, target = discover().resolve("arm64")
    assert probe.probe(target).detail
