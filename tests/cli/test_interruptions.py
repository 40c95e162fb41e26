"""What is not a mistake: Ctrl-C, a reader that goes away, a full disk, a bug."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deepseek_core.cli import app, backends

CLI = [sys.executable, "-m", "deepseek_core.cli"]


def test_ctrl_c_leaves_no_file_behind(filled: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    np.save(samples / "many.npy", np.zeros((200_000, 3, 8, 8), np.float32))
    code = "import sys; from deepseek_core.cli import main; print(flush=True); sys.exit(main(sys.argv[1:]))"
    arguments = ["quantize", filled / "model.onnx", "--calib", samples, "-o", tmp_path / "m.ds"]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2)  # long enough to be calibrating, and right as well while it still loads
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([*CLI, "backends"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_stdout(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.run([*CLI, "backends"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 2
    assert (
        process.stderr == "error: standard output: No space left on device; free some space, or choose another place\n"
    )


def test_a_bug_keeps_its_traceback(deepseek, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(backends, "discover", broken)
    with pytest.raises(ZeroDivisionError):
        deepseek("backends")


def test_help_and_version(deepseek) -> None:
    assert deepseek("--version").out.startswith("deepseek 0.")
    for name in app.COMMANDS:
        answer = deepseek(name, "--help")
        assert (answer.code, answer.err) == (0, "")
        assert f"Usage: deepseek {name}" in answer.out


def test_backends_answers_without_heavy_libraries() -> None:
    code = (
        "import sys; from deepseek_core.cli import main; code = main(['backends', '--json']);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not {"onnx", "onnx_ir", "onnxruntime", "torch"}.intersection(done.stderr.split())
