"""From a float model to answers, as a user goes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from deepseek_core.package import Package, generate_key
from deepseek_core.runtime import Session


def test_the_whole_way_in_processes_of_its_own(shell, filled: Path, tmp_path: Path) -> None:
    quantized = shell(
        *("quantize", filled / "model.onnx", "--calib", filled / "samples", "--method", "kl_divergence"),
        *("-o", "m.ds", "--json"),
        cwd=tmp_path,
    )
    assert quantized.code == 0, quantized.err
    assert quantized.json["samples"] == 16
    assert quantized.json["quantized_units"] == quantized.json["units"] == 5
    assert quantized.json["skipped"] == {}
    compiled = shell("compile", "m.ds", "--targets", "cpu", "-o", "m.cpu.ds", "--json", cwd=tmp_path)
    assert compiled.code == 0, compiled.err
    assert set(compiled.json["units"].values()) == {compiled.json["parts"][0]["target"]}
    ran = shell("run", "m.cpu.ds", "--input", filled / "image.npy", "-o", "y.npz", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["parts"][0]["tier"] == "device"
    with np.load(tmp_path / "y.npz") as outputs:
        scores = outputs["scores"]
    with Session(tmp_path / "m.cpu.ds") as session:
        expected = session.run({"image": np.load(filled / "image.npy")[np.newaxis]})["scores"]
    np.testing.assert_array_equal(scores, expected)
    assert ran.json["outputs"][0]["min"] == pytest.approx(float(scores.min()))


def test_quantize_for_people(deepseek, filled: Path, tmp_path: Path) -> None:
    options = ("--method", "percentile", "--set", "percentile=99.9", "--limit", 4, "--target", "cpu")
    answer = deepseek(
        "quantize", filled / "model.onnx", "--calib", filled / "samples", *options, "-o", tmp_path / "m.ds"
    )
    assert (answer.code, answer.err) == (0, "")
    assert "units quantized on 4 samples" in answer.out
    recipe = Package.open(tmp_path / "m.ds").model.metadata["recipe"]
    assert "99.9" in json.dumps(recipe)


def test_quantize_on_photographs(deepseek, filled: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
    images = ("--mean", "127", "--std", "128,128,128", "--resize", 9)
    answer = deepseek(
        "quantize", filled / "model.onnx", "--calib", tmp_path, *images, "-o", tmp_path / "m.ds", "--json"
    )
    assert answer.code == 0, answer.err
    assert answer.json["samples"] == 3


def test_inspect_tells_models_and_packages_apart(deepseek, filled: Path) -> None:
    model = deepseek("inspect", filled / "model.onnx", "--json").json
    assert model["package"] is None
    assert model["model"]["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["N", 3, 8, 8]}]
    assert model["model"]["quantized_units"] == 0
    package = deepseek("inspect", filled / "model.cpu.ds", "--json").json
    assert package["verdict"]["action"] == "run"
    assert package["model"]["ops"]["Conv"] == {"total": 2, "quantized": 2}
    (artifact,) = package["package"]["artifacts"]
    assert artifact["verdict"]["action"] == "run"
    assert "onnxruntime" in artifact["toolchain"]
    assert package["package"]["members"]["model.onnx"]["bytes"] > 0


def test_inspect_for_people(deepseek, filled: Path) -> None:
    text = deepseek("inspect", filled / "model.cpu.ds").out
    for part in ("image  float32[N, 3, 8, 8]", "Conv", "int8 per_channel axis=0 symmetric", "verdict: run", "cpu:"):
        assert part in text


def test_bench_reports_percentiles_in_order(deepseek, filled: Path) -> None:
    answer = deepseek("bench", filled / "model.cpu.ds", "--repeat", 20, "--warmup", 1, "--threads", 1, "--json").json
    seconds = answer["seconds"]
    assert 0 < seconds["min"] <= seconds["p50"] <= seconds["p90"] <= seconds["p99"]
    assert (answer["repeat"], answer["threads"]) == (20, 1)
    assert "median" in deepseek("bench", filled / "model.cpu.ds", "--repeat", 3).out


def test_diff_against_the_float_model(deepseek, filled: Path) -> None:
    answer = deepseek("diff", filled / "model.cpu.ds", filled / "model.onnx", "--input", filled / "image.npy", "--json")
    assert answer.code == 0, answer.out
    names = [tensor["name"] for tensor in answer.json["tensors"]]
    assert names.index("r1") < names.index("r2") < names.index("scores")
    assert all(tensor["sqnr_db"] > 20 for tensor in answer.json["tensors"])
    strict = deepseek("diff", filled / "model.cpu.ds", filled / "model.onnx", "--threshold", 200)
    assert strict.code == 1
    assert "first divergence: image" in strict.out


def test_diff_on_a_folder_of_samples(deepseek, filled: Path) -> None:
    command = ("diff", filled / "model.ds", filled / "model.onnx")
    answer = deepseek(*command, "--samples", filled / "samples", "--limit", 3, "--json").json
    assert (answer["samples"], answer["made_up"]) == (3, False)
    assert "made up" in deepseek(*command).out


def test_diff_of_a_package_with_itself(deepseek, filled: Path) -> None:
    answer = deepseek("diff", filled / "model.cpu.ds", filled / "model.ds")
    assert answer.code == 0
    assert "no divergence" in answer.out


def test_parts_on_two_devices(deepseek, mlp: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(mlp, tmp_path / "mlp.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((64, 8)).astype(np.float32))
    quantize = ("quantize", tmp_path / "mlp.onnx", "--calib", tmp_path / "x.npy", "--target", "echo")
    assert deepseek(*quantize, "-o", tmp_path / "m.ds").code == 0
    pins = ("--pin", "gemm_1=echo", "--pin", "gemm_2=cpu")
    placed = ("compile", tmp_path / "m.ds", "--targets", "echo,cpu", *pins)
    compiled = deepseek(*placed, "-o", tmp_path / "m2.ds", "--json")
    assert compiled.code == 0, compiled.err
    assert compiled.json["units"]["gemm_1"] == "echo:v1"
    assert compiled.json["units"]["gemm_2"].startswith("cpu:")
    ran = deepseek("run", tmp_path / "m2.ds", "--random", "--json").json
    assert {part["tier"] for part in ran["parts"]} == {"simulated", "device"}
    diff = deepseek("diff", tmp_path / "m2.ds", tmp_path / "mlp.onnx", "--json")
    assert diff.code == 0, diff.out


def test_a_signed_package(deepseek, filled: Path, tmp_path: Path) -> None:
    for name, key in zip(("private", "public"), generate_key(), strict=True):
        (tmp_path / name).write_bytes(key)
    signed = tmp_path / "signed.ds"
    assert (
        deepseek("compile", filled / "model.ds", "--targets", "cpu", "--sign", tmp_path / "private", "-o", signed).code
        == 0
    )
    assert deepseek("run", signed, "--random", "--public-key", tmp_path / "public").code == 0
    unsigned = deepseek("run", filled / "model.cpu.ds", "--random", "--public-key", tmp_path / "public")
    assert unsigned.code == 2
    assert "not signed" in unsigned.err


def test_conformance_writes_its_reports(deepseek, tmp_path: Path) -> None:
    pattern = ("--pattern", "numerics/Flatten/*", "--junit", tmp_path / "j.xml", "--html", tmp_path / "r.html")
    answer = deepseek("conformance", "echo", "--target", "v1", *pattern, "--json")
    assert answer.code == 0, answer.out
    assert answer.json["conforms"]
    assert all(result["id"].startswith("numerics/Flatten/") for result in answer.json["results"])
    assert "<testsuite" in (tmp_path / "j.xml").read_text()
    assert "<html" in (tmp_path / "r.html").read_text()
    assert "CONFORMS" in deepseek("conformance", "echo", *pattern[:2]).out
