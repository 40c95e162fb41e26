"""Images: what they compute, what they say, and what they make of bad input."""

from __future__ import annotations

import io
import subprocess
import zipfile

import numpy as np
import pytest

from deepseek_backend_arm.emulator import find_qemu
from deepseek_backend_arm.toolchain import find_toolchain
from deepseek_core import Artifact, CompileOptions, Target, discover
from deepseek_core.errors import BackendError, ConfigError, PackageError


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "cortex-a76", "max"])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_one_image_gives_the_reference_on_every_cpu(run_image, judged, tmp_path, cpu, threads) -> None:
    sample, expected = judged
    np.save(tmp_path / "x.npy", sample)
    done = run_image(
        *("--input", f"{tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy", "--threads", threads), cpu=cpu
    )
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


def test_info_names_model_tensors_and_kernels(run_image, network) -> None:
    said = run_image("--info", cpu="cortex-a76").stdout
    assert "model    small\n" in said
    assert network.digest() in said
    assert "input    x float32[1, 3, 19, 17]\noutput   y float32[1, 7]\n" in said
    assert "kernels  dotprod" in said
    assert "kernels  neon" in run_image("--info").stdout


def test_bench_counts_its_runs(run_image) -> None:
    done = run_image("--bench", "3", "--threads", "2")
    assert done.returncode == 0
    assert "runs     3\nthreads  2\nmean     " in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to do"),
        (("--inputs", "x"), "--inputs is no option"),
        (("--input",), "--input needs a value"),
        (("--output", "y.npy"), "x has no --input"),
        (("--threads", "0", "--bench", "1"), "is no number of threads"),
        (("--bench", "-3"), "is no number of runs"),
        (("--bench", "99999999999999999999"), "is no number of runs"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(run_image, words, said) -> None:
    done = run_image(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def _saved(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


_GOOD = np.zeros((1, 3, 19, 17), np.float32)
_BAD = {
    "it cannot be opened": None,
    "it is no .npy file": b"",
    "its element type is not the input's": _saved(_GOOD.astype(np.float64)),
    "its numbers are big-endian": _saved(_GOOD.astype(">f4")),
    "its shape is not the input's": _saved(_GOOD[:, :2]),
    "it is in Fortran order": _saved(np.asfortranarray(_GOOD)),
    "its data is cut off": _saved(_GOOD)[:-1],
    "there is more in it": _saved(_GOOD) + b"\0",
    "its header is cut off": _saved(_GOOD)[:40],
    "its format version": b"\x93NUMPY\x09" + _saved(_GOOD)[7:],
    "its header is too long": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(64),
    "its header is no dictionary": b"\x93NUMPY\x01\x00\x04\x00 [] ",
    "its header is damaged": b"\x93NUMPY\x01\x00\x06\x00{'a'1}",
}


@pytest.mark.parametrize("said", _BAD)
def test_a_bad_input_is_named_and_exit_code_1(run_image, tmp_path, said) -> None:
    data = _BAD[said]
    if data is not None:
        (tmp_path / "x.npy").write_bytes(data)
    done = run_image("--input", f"{tmp_path}/x.npy", "--output", f"{tmp_path}/y.npy")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/x.npy: {said}")
    assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(run_image, tmp_path, version) -> None:
    (tmp_path / "x.npy").write_bytes(_saved(_GOOD, version=version))
    assert run_image("--input", f"{tmp_path}/x.npy").returncode == 0


def test_deepseek_run_opens_an_image(image, sample, expected) -> None:
    backend, _ = discover().resolve("arm")
    executable = backend.load(Artifact(Target("arm", "arm64"), image.read_bytes(), "bin"))
    assert (str(executable.tier), executable.device) == ("emulated", "QEMU cortex-a72")
    np.testing.assert_array_equal(executable.run({"x": sample})["y"], expected)
    executable.close()
    with pytest.raises(PackageError, match="does not say what its inputs"):
        backend.load(Artifact(Target("arm", "arm64"), b"\x7fELF", "bin"))


def test_a_damaged_image_says_so(image, run_image, sample, tmp_path) -> None:
    data = bytearray(image.read_bytes())
    place = data.index(_constants_of(image)) + 100
    data[place] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    (tmp_path / "damaged").chmod(0o755)
    command = [find_qemu(), str(tmp_path / "damaged"), "--bench", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: this program is damaged; copy it again\n")
    backend, _ = discover().resolve("arm")
    cut = Artifact(Target("arm", "arm64"), image.read_bytes()[:-2000], "bin")
    with pytest.raises(PackageError, match="is cut off"):
        backend.load(cut)
    whole = backend.load(Artifact(Target("arm", "arm64"), bytes(data), "bin"))
    with pytest.raises(BackendError, match="this program is damaged"):
        whole.run({"x": sample})
    whole.close()


def _constants_of(image) -> bytes:
    """The first weights: what lies where the sections of a program's data begin, as objcopy tells."""
    done = subprocess.run(
        ["aarch64-linux-gnu-objcopy", "-O", "binary", "--only-section=.data", str(image), "/dev/stdout"],
        capture_output=True,
        check=True,
    )
    return done.stdout[:4096]


def test_a_library_links_with_its_example(network, toolchain, tmp_path) -> None:
    _unpacked(network, "lib", tmp_path)
    flags = ["-O2", "example.c", "libmodel.a", "-lm", "-lpthread", "-static", "-o", "example"]
    find_toolchain().run(flags, tmp_path)
    done = subprocess.run([find_qemu(), str(tmp_path / "example")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:12]) == (0, "y: 28 bytes,")


def test_sources_run_elsewhere_by_their_portable_kernels_and_under_sanitizers(
    network, native_compiler, tmp_path, judged
) -> None:
    sample, expected = judged
    _unpacked(network, "c", tmp_path)
    checks = ["-O1", "-g", "-DDS_PORTABLE", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    files = sorted(str(path.name) for path in tmp_path.glob("*.[cS]"))
    command = [native_compiler, "-std=gnu11", "-ffp-contract=off", *checks, *files, "-o", "image", "-lm", "-lpthread"]
    subprocess.run(command, cwd=tmp_path, check=True)
    np.save(tmp_path / "x.npy", sample)
    words = ["./image", "--input", "x.npy", "--output", "y.npy", "--threads", "2", "--bench", "2"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
    _fuzzed(tmp_path, np.random.default_rng(6))


def _fuzzed(folder, rng) -> None:
    """Damaged inputs end in a message or in a result, never in a sanitizer's report."""
    good = (folder / "x.npy").read_bytes()
    for number in range(150):
        data = bytearray(good[: rng.integers(1, 200)] if number % 3 == 0 else good)
        for place in rng.integers(0, min(len(data), 130), rng.integers(1, 6)):
            data[place] = rng.choice(bytearray(b"\0\xff{}()',:0123456789f<>")) if number % 2 else rng.integers(256)
        (folder / "bad.npy").write_bytes(data)
        done = subprocess.run(
            ["./image", "--input", "bad.npy"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        assert (done.returncode == 1) == done.stderr.startswith("error: bad.npy: "), done.stderr


def test_the_makefile_names_every_source(network, toolchain, tmp_path) -> None:
    _unpacked(network, "c", tmp_path)
    made = (tmp_path / "Makefile").read_text()
    for path in tmp_path.glob("*.[cS]"):
        assert f" {path.stem}.o" in made
    assert "gemm_i8mm.o: CFLAGS += -march=armv8.2-a+dotprod+i8mm\n" in made


def test_formats_are_deterministic_and_others_give_nothing(network, toolchain) -> None:
    backend, target = discover().resolve("arm:cortex-a76")
    first, second = (backend.cross_compile(network, target, "bin", CompileOptions()).payload for _ in range(2))
    assert first == second
    assert backend.cross_compile(network, target, "exe", CompileOptions()) is None
    with pytest.raises(ConfigError, match="no option 'speed'"):
        backend.cross_compile(network, target, "bin", CompileOptions(extra={"speed": "1"}))


def _unpacked(network, format, folder) -> None:
    backend, target = discover().resolve("arm:arm64")
    image = backend.cross_compile(network, target, format, CompileOptions())
    with zipfile.ZipFile(io.BytesIO(image.payload)) as archive:
        archive.extractall(folder)
