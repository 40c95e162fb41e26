"""`deepseek quantize` of the toolkit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from deepseek.quantization import QuantizationRecipe

from deepseek_core.cli.extensions import extensions
from deepseek_core.package import Package


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, onnx_network) -> Path:
    """Samples in folders by what the float network says, so that it is right about all of them."""
    from deepseek.quantization.execution import Runner

    from deepseek_core.ir.frontend import load_model

    folder = tmp_path_factory.mktemp("labelled")
    samples = np.random.default_rng(3).standard_normal((12, 3, 8, 8)).astype(np.float32)
    with Runner(load_model(onnx_network)) as runner:
        labels = runner({"image": samples})["scores"].argmax(1)
    rows = [f"{number}.npy,{label}" for number, label in enumerate(labels)]
    for number, sample in enumerate(samples):
        np.save(folder / f"{number}.npy", sample)
    (folder / "labels.csv").write_text("\n".join(("file,label", *rows)))
    return folder


@pytest.fixture
def at_shelf(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shelf)
    return shelf


def test_it_is_in_the_place_of_the_cores() -> None:
    assert extensions()["quantize"].value == "deepseek.cli.quantize:command"


def test_everything_at_once(deepseek, shelf: Path, labelled: Path, tmp_path: Path) -> None:
    answer = deepseek(
        *("quantize", shelf / "model.onnx", "--calib", shelf / "samples", "-o", tmp_path / "m.ds"),
        *("--evaluate", labelled, "--max-drop", "60", "--report", tmp_path / "r.html", "--onnx", tmp_path / "m.onnx"),
        *("--save-recipe", tmp_path / "recipe.toml", "--config", "{'batch_size': 2}", "--seed", 5, "--json"),
    )
    assert answer.code == 0, answer.err
    assert answer.err == ""
    data = answer.json
    assert data["samples"] == 24
    assert data["reference"] == 1.0
    assert data["value"] >= 0.4
    assert data["shortfall"] is None
    assert data["quantized_units"] == len([found for found in data["layers"] if not found["reason"]])
    assert set(data["written"]) == {"report", "onnx", "recipe"}
    assert "<svg" in (tmp_path / "r.html").read_text()
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))
    model = Package.open(tmp_path / "m.ds").model
    assert model.inputs[0].shape == (2, 3, 8, 8)
    recipe = QuantizationRecipe.load(tmp_path / "recipe.toml")
    assert recipe.to_json() == data["recipe"] == model.metadata["quantization"]
    assert recipe.seed == 5
    again = deepseek(
        *("quantize", shelf / "model.onnx", "--calib", shelf / "samples", "-o", tmp_path / "again.ds"),
        *("--recipe", tmp_path / "recipe.toml"),
    )
    assert again.code == 0, again.err
    assert (tmp_path / "again.ds").read_bytes() == (tmp_path / "m.ds").read_bytes()


def test_a_budget_that_is_missed_is_exit_code_3_and_the_best_is_written(deepseek, shelf: Path, tmp_path: Path) -> None:
    command = ("quantize", shelf / "model.onnx", "--calib", shelf / "samples", "--min-sqnr", 200)
    answer = deepseek(*command, "-o", tmp_path / "m.ds")
    assert answer.code == 3
    assert "the budget is missed: output SQNR is" in answer.out
    assert "this is the best that was found" in answer.out
    assert Package.open(tmp_path / "m.ds").model.metadata["recipe"]


def test_without_data_for_people(deepseek, shelf: Path, tmp_path: Path) -> None:
    answer = deepseek("quantize", shelf / "model.onnx", "--recipe", "plain", "-o", tmp_path / "m.ds")
    assert (answer.code, answer.err) == (0, "")
    assert "note: no calibration data" in answer.out
    assert "units quantized on 16 samples" in answer.out


def test_four_bits(deepseek, shelf: Path, tmp_path: Path) -> None:
    command = ("quantize", shelf / "model.onnx", "--calib", shelf / "samples", "--recipe", "plain", "--bits", 4)
    answer = deepseek(*command, "-o", tmp_path / "m.ds", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["precision"] in ("int4", "w4a8")
    assert {"w4a8", "w4a16"} & {found["precision"] for found in answer.json["layers"]}


def test_the_environments_configuration(deepseek, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_CONFIG", json.dumps({"tensor_core": True}))
    command = ("quantize", shelf / "model.onnx", "--calib", shelf / "samples", "--recipe", "plain")
    answer = deepseek(*command, "-o", tmp_path / "m.ds", "--json")
    assert answer.json["recipe"]["config"] == {"tensor_core": True}
    assert "matrix units" in answer.json["skipped"]["conv_1"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--config {'batchsize':1}", "did you mean 'batch_size'?"),
        ("--precision int3", "int3"),
        ("--bits 5", "5"),
        ("--max-drop 1", "needs something to measure"),
        ("--recipe nowhere.toml", "nowhere.toml"),
        ("--recipe model.onnx", "model.onnx"),
        ("--evaluate nowhere", "nowhere"),
        ("--evaluate samples", "is for calibration and for evaluation"),
        ("--report nowhere/r.html", "nowhere"),
        ("--onnx samples", "samples"),
        ("--set percentile=99", "no method"),
        ("--method mse --recipe recipe.json", "beside a recipe"),
    ],
)
def test_mistakes_are_one_line(deepseek, at_shelf: Path, tmp_path: Path, options: str, told: str) -> None:
    QuantizationRecipe().save(at_shelf / "recipe.json")
    answer = deepseek("quantize", "model.onnx", "--calib", "samples", "-o", tmp_path / "m.ds", *options.split())
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert told in line
    assert "; " in line
    assert list(tmp_path.iterdir()) == []
