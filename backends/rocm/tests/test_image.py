"""Images: C sources that build with any compiler, and run over HIP's module API."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deepseek_backend_rocm.container import decode
from deepseek_backend_rocm.fake_hip import build, environment
from deepseek_backend_rocm.image.csource import blob_and_source
from deepseek_core import CompileOptions, discover

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def folder(network, triton, tmp_path_factory) -> Path:
    """The sources of an image for two architectures, unpacked, and built against HIP's ABI."""
    backend, target = discover().resolve("rocm:gfx942")
    options = CompileOptions(extra={"architectures": "gfx1100"})
    image = backend.cross_compile(network, target, "c", options)
    assert image.payload == backend.cross_compile(network, target, "c", options).payload
    path = tmp_path_factory.mktemp("image")
    with zipfile.ZipFile(io.BytesIO(image.payload)) as packed:
        packed.extractall(path)
    build(path)
    flags = "CFLAGS=-O1 -Wall -Wextra -Werror -std=c11"
    command = ["make", "-s", "HIP=minimal", f"ROCM={path}", flags, "LDFLAGS=-L."]
    subprocess.run(command, cwd=path, check=True, capture_output=True)
    return path


def _run(folder: Path, *words: str, gpu: str = "gfx942") -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment(gpu), "LD_LIBRARY_PATH": str(folder)}
    return subprocess.run(
        [str(folder / "model"), *words], capture_output=True, text=True, env=variables, check=False, timeout=120
    )


@pytest.mark.parametrize(("gpu", "words"), [("gfx942", ()), ("gfx1100", ("--graph",))])
def test_the_launcher_gives_the_references_result(folder, judged, tmp_path, gpu, words) -> None:
    sample, expected = judged
    (tmp_path / "x.bin").write_bytes(sample.tobytes())
    done = _run(folder, *words, str(tmp_path / "x.bin"), str(tmp_path / "y.bin"), gpu=gpu)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ran on {gpu}" in done.stdout
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y.bin", expected.dtype), expected.reshape(-1))


def test_without_words_it_says_what_it_takes(folder) -> None:
    done = _run(folder)
    assert done.returncode == 0
    assert "input x: float32 [1, 3, 19, 17], 3876 bytes" in done.stdout
    assert "output y: float32 [1, 7]" in done.stdout


def test_a_gpu_of_another_architecture_is_refused_by_name(folder, judged, tmp_path) -> None:
    (tmp_path / "x.bin").write_bytes(judged[0].tobytes())
    done = _run(folder, str(tmp_path / "x.bin"), str(tmp_path / "y.bin"), gpu="gfx90a")
    assert done.returncode == 2
    assert "none of the architectures of this model (gfx1100, gfx942)" in done.stderr


def test_an_input_of_another_size_is_refused(folder, tmp_path) -> None:
    (tmp_path / "x.bin").write_bytes(b"short")
    done = _run(folder, str(tmp_path / "x.bin"), str(tmp_path / "y.bin"))
    assert (done.returncode, "has another size than the input" in done.stderr) == (2, True)


def test_the_fat_artifact_holds_both(network, triton) -> None:
    backend, target = discover().resolve("rocm:gfx942")
    image = backend.cross_compile(network, target, "bin", CompileOptions(extra={"architectures": "gfx1100"}))
    assert sorted(decode(image.payload).programs) == ["gfx1100", "gfx942"]


def test_names_cannot_break_the_source(fat) -> None:
    name = 'a "model" \\ with */ ?? and ünïcode'
    _, source = blob_and_source(fat, name)
    line = next(line for line in source.splitlines() if line.startswith("const ds_model"))
    assert '"model"' not in line
    assert line.isascii()
