"""The command line, end to end."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from deepseek_core.cli import main
from deepseek_core.cli.cross_compile import main as cross_compile
from deepseek_core.package import Package


def test_cross_compile_gives_the_launcher_with_everything(float_network, triton, tmp_path, capsys) -> None:
    output = tmp_path / "image.zip"
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    np.savez(calibration / "0.npz", x=np.random.default_rng(0).standard_normal((1, 3, 19, 17)).astype(np.float32))
    words = ["--model", str(float_network), "--target", "rocm:gfx942", "--calib", str(calibration)]
    assert cross_compile([*words, "--set", "rocm.architectures=gfx1100", "--output", str(output), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["toolchain"]["triton"] == "3.7.1"
    assert report["report"]["gfx942"]["basis"] == ["analytic"]
    with zipfile.ZipFile(output) as packed:
        assert {"launcher.c", "launcher.h", "model.c", "model.bin", "Makefile"} <= set(packed.namelist())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "rocm:gfx803"], "rocm:gfx803"),
        (["--target", "rocm:gfx942", "--format", "elf"], "formats: c, bin"),
        (["--target", "rocm:gfx942", "--set", "rocm.tiles=3"], "no option 'tiles'"),
    ],
)
def test_mistakes_are_one_line(float_network, tmp_path, capsys, words, said) -> None:
    assert cross_compile(["--model", str(float_network), *words, "--output", str(tmp_path / "x.zip")]) == 2
    shown = capsys.readouterr().err
    assert said in " ".join(shown.split())
    assert "Traceback" not in shown


def test_compile_and_run_say_that_the_result_is_emulated(network, judged, triton, tmp_path, capsys) -> None:
    model, package = tmp_path / "model.ds", tmp_path / "package.ds"
    Package(network).save(model)
    np.save(tmp_path / "x.npy", judged[0])
    assert main(["compile", str(model), "--targets", "rocm:gfx942", "--output", str(package)]) == 0
    capsys.readouterr()
    outputs = tmp_path / "y.npz"
    assert main(["run", str(package), "--input", f"x={tmp_path / 'x.npy'}", "--output", str(outputs)]) == 0
    assert "emulated" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(outputs)["y"], judged[1])
