"""A user's mistake: exit code 2, nothing on stdout, and one line on stderr that says what to do."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest

MISTAKES = {
    "": "Missing command",
    "frobnicate": "No such command",
    "run": "Missing argument",
    "run --frobnicate x": "No such option",
    "run nowhere.ds --random": "nowhere.ds",
    "run samples --random": "samples",
    "run model.ds --random": "not compiled",
    "run model.onnx --random": "not compiled",
    "run cut.ds --random": "damaged",
    "run empty.ds --random": "empty",
    "run text.ds --random": "not a .ds package",
    "run model.cpu.ds": "no array for input image",
    "run model.cpu.ds --input nowhere.npy": "nowhere.npy",
    "run model.cpu.ds --input picture=image.npy": "picture",
    "run model.cpu.ds --input wide.npy": "does not fit",
    "run model.cpu.ds --input text.npy": "it is no NumPy file",
    "run model.cpu.ds --random -o model.onnx/deep/y.npz": "model.onnx",
    "run model.cpu.ds --random -o nowhere/y.npz": "nowhere",
    "run model.cpu.ds --random --device quantum": "quantum",
    "run model.cpu.ds --random --public-key nowhere.pem": "nowhere.pem",
    "run model.cpu.ds --random --public-key text.ds": "key",
    "inspect text.onnx": "text.onnx",
    "inspect empty.onnx": "empty.onnx",
    "inspect cut.onnx": "cut.onnx",
    "inspect .": ".",
    "quantize model.onnx --calib samples": "--output",
    "quantize model.onnx --calib nowhere -o x.ds": "nowhere",
    "quantize model.onnx --calib nothing -o x.ds": "no samples",
    "quantize model.onnx --calib wide.npy -o x.ds": "does not fit",
    "quantize model.onnx --calib nan.npy -o x.ds": "NaN",
    "quantize model.onnx --calib samples --method magic -o x.ds": "magic",
    "quantize model.onnx --calib samples --method percentile --set percentile=120 -o x.ds": "120",
    "quantize model.onnx --calib samples --set bins -o x.ds": "KEY=VALUE",
    "quantize model.onnx --calib samples --target quantum -o x.ds": "quantum",
    "quantize model.onnx --calib samples --mean blue -o x.ds": "blue",
    "quantize model.onnx --calib samples --limit 0 -o x.ds": "limit",
    "quantize model.ds --calib samples -o x.ds": "model.ds",
    "quantize model.onnx --calib samples -o samples": "samples",
    "compile model.ds --targets cpu:riscv -o x.ds": "cpu:riscv",
    "compile model.ds --targets , -o x.ds": "target",
    "compile model.ds --targets echo -o x.ds": "echo",
    "compile model.ds --targets cpu --pin nobody=cpu -o x.ds": "nobody",
    "compile model.ds --targets cpu --set kernels=int8 -o x.ds": "cpu.kernels",
    "compile model.ds --targets cpu --set cpu.colour=blue -o x.ds": "colour",
    "compile model.ds --targets cpu --set cpu.kernels=blue -o x.ds": "blue",
    "compile model.ds --targets cpu --optimize 7 -o x.ds": "7",
    "compile model.ds --targets cpu -o nowhere/x.ds": "nowhere",
    "compile model.ds --targets cpu --objective speed -o x.ds": "speed",
    "compile model.ds --targets cpu --solver magic -o x.ds": "magic",
    "compile model.ds --targets cpu,reference --solver mincut -o x.ds": "minimum cut",
    "compile model.ds --targets cpu,reference --objective energy -o x.ds": "energy",
    "compile model.ds --targets cpu --max-parts 0 -o x.ds": "0",
    "compile model.ds --targets cpu --min-coverage cpu=most -o x.ds": "most",
    "compile model.ds --targets cpu --min-coverage cpu=7 -o x.ds": "from 0 to 1",
    "compile model.ds --targets cpu --min-coverage echo=0.5 -o x.ds": "not among the targets",
    "compile model.ds --targets cpu --memory cpu=lots -o x.ds": "lots",
    "compile model.ds --targets cpu --memory cpu=1B -o x.ds": "within 1 bytes of constants",
    "compile model.ds --targets cpu,reference --solver priority --memory cpu=1B -o x.ds": "looks at no memory",
    "plan model.ds": "--targets",
    "plan model.ds --targets quantum": "quantum",
    "plan model.ds --targets echo,cpu --pin conv_1=echo": "refuses it",
    "plan model.ds --targets cpu --html nowhere/p.html": "nowhere",
    "plan text.onnx --targets cpu": "text.onnx",
    "profile model.ds --targets quantum": "quantum",
    "profile model.ds --targets cpu --input wide.npy": "does not fit",
    "run model.cpu.ds --random --fallback quantum": "quantum",
    "bench model.cpu.ds --stream --depth 0": "0",
    "bench model.cpu.ds --repeat 0": "0 timed runs",
    "bench model.cpu.ds --repeat many": "many",
    "diff model.ds": "Missing argument",
    "diff model.ds other.onnx": "share no tensor",
    "diff model.ds model.onnx --samples nowhere": "nowhere",
    "diff model.ds model.onnx --samples samples --input image.npy": "exclude each other",
    "conformance quantum": "quantum",
    "conformance echo --target v9": "v9",
    "conformance echo --pattern nothing": "nothing",
    "conformance echo --pattern numerics/Flatten/* --html nowhere/r.html": "nowhere",
}


@pytest.fixture(scope="module")
def shelf(filled: Path, mlp) -> Path:
    """Every kind of wrong file beside the right ones."""
    (filled / "text.ds").write_text("once upon a time")
    (filled / "text.onnx").write_text("once upon a time")
    (filled / "text.npy").write_text("once upon a time")
    (filled / "empty.ds").touch()
    (filled / "empty.onnx").touch()
    (filled / "nothing").mkdir()
    (filled / "cut.ds").write_bytes((filled / "model.cpu.ds").read_bytes()[:-100])
    (filled / "cut.onnx").write_bytes((filled / "model.onnx").read_bytes()[:-100])
    np.save(filled / "wide.npy", np.zeros((1, 3, 9, 9), np.float32))
    np.save(filled / "nan.npy", np.full((1, 3, 8, 8), np.nan, np.float32))
    (filled / "other.onnx").write_bytes(mlp.SerializeToString())
    return filled


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_with_the_fix(deepseek, shelf: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(shelf)
    before = sorted(shelf.iterdir())
    answer = deepseek(*shlex.split(line))
    assert (answer.code, answer.out) == (2, "")
    (told,) = answer.err.splitlines()
    assert told.startswith("error: ")
    assert "; " in told
    assert MISTAKES[line] in told
    assert sorted(shelf.iterdir()) == before, "a file was left behind"


@pytest.mark.parametrize("line", ["run nowhere.ds --random --json", "backends --colour"])
def test_json_says_nothing_else_on_stdout(deepseek, line: str) -> None:
    answer = deepseek(*line.split())
    assert (answer.code, answer.out) == (2, "")


def test_an_output_that_cannot_be_written_keeps_the_old_one(deepseek, filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.ds"
    target.write_bytes(b"the old one")
    wrong = deepseek("compile", filled / "text.ds", "--targets", "cpu", "-o", target)
    assert wrong.code == 2
    assert target.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_path_that_is_not_utf8(shell, filled: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    missing = shell("run", folder / "m.ds", "--random")
    assert missing.code == 2
    assert len(missing.err.splitlines()) == 1
    copied = folder / "m.ds"
    copied.write_bytes((filled / "model.cpu.ds").read_bytes())
    for options in ((), ("--json",)):
        answer = shell("inspect", copied, *options)
        assert answer.code == 0, answer.err


def test_newlines_in_a_name_stay_in_one_line(deepseek, tmp_path: Path) -> None:
    answer = deepseek("inspect", tmp_path / "two\nlines.onnx")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
