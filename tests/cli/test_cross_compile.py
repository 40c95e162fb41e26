"""`deepseek-cross-compile` over a backend that offers formats, and one that does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import deepseek_backend_echo.plugin as echo
from deepseek_core import hookimpl
from deepseek_core.artifact import Artifact
from deepseek_core.cli.cross_compile import main
from deepseek_core.ir.frontend import load_model
from deepseek_core.package import Package
from deepseek_core.pipeline import quantize
from deepseek_core.registry import Backend, Registry, discover


@hookimpl
def _capabilities(target):
    return replace(discover().backend("echo").capabilities(target), formats=("text", "nothing"))


@hookimpl
def _cross_compile(model, target, format, options):
    if format != "text":
        return None
    text = json.dumps([sorted(unit.op for unit in model.units()), options.optimize, dict(options.extra)])
    proof = {"share": 0.5, "units": 2, "missed": {"slow": "reads float32"}, "opaque": {}, "source": "test"}
    return Artifact(target, text.encode(), format, {"textc": "1.2"}, report={"int8": proof})


@pytest.fixture
def offers(monkeypatch) -> None:
    """Echo, as if it offered two formats, one of which it does not give."""
    hooks = {name: getattr(echo, name) for name in dir(echo) if name.startswith("deepseek_")}
    hooks |= {"deepseek_capabilities": _capabilities, "deepseek_cross_compile": _cross_compile}
    found = Registry([Backend(SimpleNamespace(**hooks)), discover().backend("reference")])
    monkeypatch.setattr("deepseek_core.registry.discover", lambda: found)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cross")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), folder / "m.onnx")
    samples = [{"x": np.arange(8, dtype=np.float32).reshape(2, 4)}]
    Package(quantize(folder / "m.onnx", samples, targets=["echo"])).save(folder / "m.ds")
    return folder / "m.ds"


def _arguments(model: Path, output: Path, *more: str) -> list[str]:
    return ["--target", "echo:v1", "--model", str(model), "--output", str(output), *more]


@pytest.mark.usefixtures("offers")
def test_the_image_is_what_the_backend_gives(model, tmp_path, capfd) -> None:
    out = tmp_path / "image"
    assert main(_arguments(model, out, "--set", "echo.speed=fast", "--min-int8", "0.9", "--json")) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["format"] == "text"
    assert answer["bytes"] == out.stat().st_size
    assert answer["toolchain"] == {"textc": "1.2"}
    assert "MatMul" in out.read_text()
    assert json.loads(out.read_text())[1:] == [1, {"speed": "fast", "min_int8": "0.9"}]


@pytest.mark.usefixtures("offers")
def test_people_read_what_runs_on_codes_and_what_does_not(model, tmp_path, capfd) -> None:
    assert main(_arguments(model, tmp_path / "image")) == 0
    out = capfd.readouterr().out
    assert "50.0 % of 2 quantized units run on codes" in out
    assert "not slow: reads float32" in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--format", "elf"), "does not offer format 'elf' (formats: text, nothing)"),
        (("--format", "nothing"), "offers format 'nothing' and gives nothing"),
        (("--set", "cpu.kernels=int8"), "is for none of the chosen backends"),
        (("--target", "echo:v9"), "has no target 'echo:v9'"),
        (("--min-int8", "2"), "2"),
    ],
)
@pytest.mark.usefixtures("offers")
def test_what_cannot_be_is_one_line(model, tmp_path, capfd, more, said) -> None:
    assert main(_arguments(model, tmp_path / "image", *more)) == 2
    err = capfd.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "image").exists()


def test_a_backend_without_formats_says_so(model, tmp_path, capfd) -> None:
    assert main(_arguments(model, tmp_path / "image")) == 2
    assert "echo:v1 does not offer an image (formats: none)" in capfd.readouterr().err


@pytest.mark.usefixtures("offers")
def test_a_unit_that_does_not_run_there_is_named(filled, tmp_path, capfd) -> None:
    assert main(_arguments(filled / "model.ds", tmp_path / "image")) == 2
    assert "units run on no chosen target" in capfd.readouterr().err


@pytest.mark.usefixtures("offers")
def test_a_float_model_is_quantized_first(model, tmp_path, capfd) -> None:
    source, samples = model.parent / "m.onnx", tmp_path / "samples"
    samples.mkdir()
    np.save(samples / "one.npy", np.arange(8, dtype=np.float32).reshape(2, 4))
    assert main(_arguments(source, tmp_path / "image")) == 0
    assert "made-up numbers" in capfd.readouterr().err
    assert main(_arguments(source, tmp_path / "image", "--calib", str(samples))) == 0
    assert "made-up" not in capfd.readouterr().err
    assert main(_arguments(model, tmp_path / "image", "--calib", str(samples))) == 2
    assert "quantized already" in capfd.readouterr().err


@pytest.mark.usefixtures("offers")
def test_a_loose_shape_is_asked_for(model, tmp_path, capfd) -> None:
    loose = onnx.load(model.parent / "m.onnx")
    for value in (*loose.graph.input, *loose.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(loose, tmp_path / "loose.onnx")
    arguments = _arguments(tmp_path / "loose.onnx", tmp_path / "image")
    assert main(arguments) == 2
    assert "add --shape x=1,4" in capfd.readouterr().err
    assert main([*arguments, "--shape", "x=2,4"]) == 0
    assert main([*arguments, "--shape", "z=2,4"]) == 2
    assert main([*arguments, "--shape", "2,many"]) == 2
    capfd.readouterr()
    assert main([*arguments, "--shape", "2,4"]) == 0


@pytest.mark.usefixtures("offers")
def test_a_float_model_is_left_in_float_where_asked(model, tmp_path, capfd) -> None:
    source = model.parent / "m.onnx"
    samples = tmp_path / "one.npy"
    np.save(samples, np.ones((2, 4), np.float32))
    assert main(_arguments(source, tmp_path / "image", "--float", "--calib", str(samples))) == 2
    assert "stays in float" in capfd.readouterr().err
    assert main(_arguments(source, tmp_path / "image", "--float")) == 2  # echo runs codes only
    err = capfd.readouterr().err
    assert "made-up" not in err
    assert "units run on no chosen target" in err


class _Entry:
    value = "somewhere:read"

    @staticmethod
    def load():
        return lambda path, shapes: load_model(path.parent / "m.onnx")


@pytest.mark.usefixtures("offers")
def test_files_of_torch_are_read_by_what_is_installed(model, tmp_path, capfd, monkeypatch) -> None:
    source = model.parent / "m.pt2"
    source.write_bytes(b"")
    found: list[_Entry] = []
    monkeypatch.setattr("deepseek_core.readers._entries", lambda suffix: found if suffix == "pt2" else [])
    assert main(_arguments(source, tmp_path / "image")) == 2
    assert "pip install 'deepseek[torch]'" in capfd.readouterr().err
    found.append(_Entry())
    assert main(_arguments(source, tmp_path / "image")) == 0
