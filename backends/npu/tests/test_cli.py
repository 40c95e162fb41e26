"""What a user can get wrong, through the command line: one line that says so, and what to do."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir
import pytest

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.verification.networks import pooling_network
from deepseek_core import QuantizedModel
from deepseek_core.cli import main
from deepseek_core.ir import with_input_shapes
from deepseek_core.package import Package

TARGET = "npu:ethos-u55-128"


@pytest.fixture
def package(tmp_path, network):
    path = tmp_path / "network.ds"
    Package(network).save(path)
    return path


@pytest.fixture
def compile_(capfd):
    """Compiles a package; gives the exit code and what was printed, in one line."""

    def call(path, *options: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(["compile", str(path), "-o", str(path.with_name("out.ds")), "--optimize", "0", *options])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, " ".join(f"{out} {err}".split())

    return call


def test_a_network_compiles_and_runs(package, compile_, capfd) -> None:
    assert compile_(package, "--targets", TARGET)[0] == 0
    assert main(["run", str(package.with_name("out.ds")), "--random"]) == 0
    assert "emulated" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--targets", "npu:ethos-u99"), "ethos-u99"),
        (("--targets", TARGET, "--set", "npu.memory=Hbm"), "Shared_Sram"),
        (("--targets", TARGET, "--set", "npu.system=Ethos_U65_High_End"), "Ethos_U55_High_End_Embedded"),
        (("--targets", TARGET, "--set", "npu.speed=fast"), "no option 'speed'"),
        (("--targets", TARGET, "--set", "npu.tier=silicon"), "emulated"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(package, compile_, options, said) -> None:
    code, printed = compile_(package, *options)
    assert code != 0
    assert said in printed


def test_a_dynamic_shape_is_refused_with_the_reason(tmp_path, network, compile_) -> None:
    model = network.clone()
    value = model.graph.inputs[0]
    value.shape = ir.Shape(["batch", *value.shape[1:]])
    for node in model.graph:
        for output in node.outputs:
            output.shape = None
    path = tmp_path / "dynamic.ds"
    Package(with_input_shapes(QuantizedModel(model.model), {})).save(path)
    code, printed = compile_(path, "--targets", TARGET)
    assert code != 0
    assert "fixed shapes" in printed


def test_a_corrupted_package_is_one_error(package, compile_, capfd) -> None:
    assert compile_(package, "--targets", TARGET)[0] == 0
    out = package.with_name("out.ds")
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 0xFF
    out.write_bytes(bytes(data))
    capfd.readouterr()
    assert main(["run", str(out), "--random"]) != 0
    err = capfd.readouterr().err
    assert "damaged" in err
    assert "Traceback" not in err


def test_what_does_not_fit_the_fast_memory_is_refused_with_both_sizes(package, compile_) -> None:
    code, printed = compile_(package, "--targets", TARGET, "--set", "npu.sram=1K")
    assert code != 0
    assert "bytes of fast memory at once, and npu.sram allows 1024" in printed
    assert "another target" in printed
    assert compile_(package, "--targets", TARGET, "--set", "npu.sram=1M")[0] == 0


def test_strides_that_the_npu_does_not_have_are_refused_with_the_reason(tmp_path, compile_) -> None:
    path = tmp_path / "strides.ds"
    Package(pooling_network(stride=5)).save(path)
    code, printed = compile_(path, "--targets", TARGET)
    assert code != 0
    assert "an average with pads cannot have strides above 3" in printed
    Package(pooling_network(stride=3)).save(path)
    assert compile_(path, "--targets", TARGET)[0] == 0


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
def test_a_corrupted_payload_is_one_error(package, compile_, capfd, device) -> None:
    """All checksums are right: Arm's decoder ends its process on the weights, and the emulator refuses the rest."""
    assert compile_(package, "--targets", f"npu:{device}")[0] == 0
    out = package.with_name("out.ds")
    opened = Package.open(out)
    (artifact,) = opened.artifacts
    container = Container.decode(artifact.payload)
    broken = replace(container, constants=bytes(255 - byte for byte in container.constants))
    replace(opened, artifacts=(replace(artifact, payload=broken.encode(), sha256=""),)).save(out)
    capfd.readouterr()
    assert main(["run", str(out), "--random"]) != 0
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "compile the model again" in " ".join(err.split())
