"""Files of torch: archives and TorchScript are read, pickles refused wherever they hide."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from deepseek.quantization.execution import Runner
from deepseek.quantization.frontends.torch.files import read_torch

from deepseek_core.errors import ConfigError, ModelError


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 5)

    def forward(self, image):
        features = torch.nn.functional.hardswish(self.norm(self.conv(image)))
        return self.head(features.mean((2, 3)))


@pytest.fixture(scope="module")
def module() -> Small:
    torch.manual_seed(3)
    return Small().eval()


@pytest.fixture(scope="module")
def example() -> torch.Tensor:
    return torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def archive(module, example, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("torch") / "small.pt2"
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: batch},)), path)
    return path


def _agrees(model, name: str, module: Small, example: torch.Tensor) -> None:
    with Runner(model) as run:
        (got,) = run({name: example.numpy()}).values()
    with torch.no_grad():
        np.testing.assert_allclose(got, module(example).numpy(), rtol=1e-4, atol=1e-5)


def test_an_archive_is_read_without_its_pickled_samples(archive, module, example) -> None:
    model = read_torch(archive, {})
    assert [(info.name, info.shape) for info in model.inputs] == [("image", ("batch", 3, 9, 7))]
    _agrees(model, "image", module, example)
    _agrees(model, "image", module, torch.cat([example] * 2))


@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript_is_read_where_shapes_are_given(tmp_path, module, example, way) -> None:
    path = tmp_path / "small.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(module) if way == "script" else torch.jit.trace(module, example)
        torch.jit.save(made, path)
    with pytest.raises(ConfigError, match="does not say the shape of its input 'image'") as caught:
        read_torch(path, {})
    assert "--shape image=" in caught.value.fix
    _agrees(read_torch(path, {"": (2, 3, 9, 7)}), "image", module, example)
    _agrees(read_torch(path, {"image": (2, 3, 9, 7)}), "image", module, example)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_is_refused_with_the_way_out(tmp_path, module, new) -> None:
    path = tmp_path / "small.pt"
    torch.save(module, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ModelError, match="runs code of its author") as caught:
        read_torch(path, {})
    assert "torch.export.save" in caught.value.fix


def _changed(archive: Path, to: Path, change) -> Path:
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(to, "w") as target:
        for entry in source.infolist():
            for name, data in change(entry.filename, source.read(entry)):
                target.writestr(name, data)
    return to


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap"),))


def test_samples_of_an_archive_are_never_opened(archive, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = io.BytesIO()
    torch.save(_Trap(), data)
    path = _changed(
        archive, tmp_path / "trap.pt2", lambda name, was: [(name, data.getvalue() if "sample_inputs" in name else was)]
    )
    assert read_torch(path, {}).inputs
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("hidden", ["weights", "constants", "object"])
def test_pickles_inside_an_archive_are_refused(archive, tmp_path, hidden) -> None:
    def change(name, data):
        if hidden == "object" and name.endswith("archive_format"):
            return [(name, data), (name.replace("archive_format", "data/constants/custom_obj_0"), b"pickle")]
        if hidden == "constants" and name.endswith("archive_format"):
            return [(name, data), (name.replace("archive_format", "data/constants/model.pt"), b"pickle")]
        if hidden == "weights" and name.endswith("model_weights_config.json"):
            listing = json.loads(data)
            next(iter(listing["config"].values()))["use_pickle"] = True
            data = json.dumps(listing).encode()
        return [(name, data)]

    with pytest.raises(ModelError, match="pickle"):
        read_torch(_changed(archive, tmp_path / "bad.pt2", change), {})


@pytest.mark.parametrize("expression", ["__import__('os')", "exit(1)", "s0.real", "open(3)"])
def test_sizes_that_are_no_sizes_are_refused(archive, tmp_path, expression) -> None:
    def symbols(name, data):
        return [(name, _with_expression(data, expression) if name.endswith("models/model.json") else data)]

    with pytest.raises(ModelError, match="no plain expression"):
        read_torch(_changed(archive, tmp_path / "bad.pt2", symbols), {})


def _with_expression(data: bytes, expression: str) -> bytes:
    tree = json.loads(data)

    def walk(node) -> None:
        if isinstance(node, dict):
            for key in node:
                if key == "expr_str":
                    node[key] = expression
                else:
                    walk(node[key])
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(tree)
    return json.dumps(tree).encode()


def test_a_damaged_archive_is_one_line(archive, tmp_path) -> None:
    path = _changed(
        archive, tmp_path / "bad.pt2", lambda name, data: [] if name.endswith("weight_0") else [(name, data)]
    )
    with pytest.raises(ModelError, match="torch cannot read") as caught:
        read_torch(path, {})
    assert "\n" not in caught.value.message
