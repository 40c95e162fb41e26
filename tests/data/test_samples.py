from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core.data import Samples
from deepseek_core.data.arrays import fit_many
from deepseek_core.errors import CalibrationError, DeepseekError, FeedError
from deepseek_core.ir import TensorInfo

X = TensorInfo("x", "float32", (1, 3))
ANY_BATCH = TensorInfo("x", "float32", ("N", 3))
Y = TensorInfo("y", "int64", (1,))


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name, value in (("b.npy", 1.0), ("a.npy", 0.0), ("deep/c.npy", 2.0), (".hidden.npy", 9.0)):
        np.save(tmp_path / name, np.full((1, 3), value, np.float32))
    (tmp_path / "notes.txt").write_text("not a sample")
    samples = Samples(tmp_path, [X])
    assert len(samples) == 3
    assert [feeds["x"][0, 0] for feeds in samples] == [0.0, 1.0, 2.0]
    assert [feeds["x"][0, 0] for feeds in samples] == [0.0, 1.0, 2.0], "a second pass reads the same"


@pytest.mark.parametrize(
    ("shape", "batches"), [((3,), [(1, 3)]), ((1, 3), [(1, 3)]), ((4, 3), [(1, 3)] * 4)], ids=["row", "batch", "rows"]
)
@pytest.mark.parametrize("info", [X, ANY_BATCH], ids=["fixed", "symbolic"])
def test_an_array_becomes_batches_of_the_models_size(
    tmp_path: Path, info: TensorInfo, shape: tuple[int, ...], batches: list[tuple[int, ...]]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    samples = Samples(tmp_path / "x.npy", [info])
    assert [feeds["x"].shape for feeds in samples] == batches
    assert len(samples) == len(batches)


@given(rows=st.integers(1, 12), batch=st.integers(1, 4))
def test_splitting_loses_and_repeats_no_row(rows: int, batch: int) -> None:
    array = np.arange(rows * batch * 2, dtype=np.float32).reshape(rows * batch, 2)
    parts = fit_many(array, TensorInfo("x", "float32", (batch, 2)), "x.npy")
    assert all(part.shape == (batch, 2) for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts), array)


def test_npz_keys_are_input_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.zeros((2, 3), np.float32), y=np.arange(2))
    samples = Samples(tmp_path, [X, Y])
    feeds = list(samples)
    assert len(samples) == len(feeds) == 2
    assert [int(f["y"][0]) for f in feeds] == [0, 1]
    assert feeds[0]["y"].dtype == np.int64


def test_a_limit_spreads_over_the_folder(tmp_path: Path) -> None:
    for index in range(10):
        np.save(tmp_path / f"{index}.npy", np.full((1, 3), index, np.float32))
    assert [int(f["x"][0, 0]) for f in Samples(tmp_path, [X], limit=3)] == [0, 3, 6]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8])
def test_no_dtype_is_cast(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 3), dtype))
    with pytest.raises(DeepseekError, match=r"does not fit input x float32\[1, 3\]; save it with .astype\('float32'\)"):
        list(Samples(tmp_path, [X]))
    with pytest.raises(FeedError, match="dtype float32 does not fit input y int64"):
        fit_many(np.ones(1, np.float32), Y, "y.npy")


def _nan(path: Path) -> None:
    np.save(path / "x.npy", np.array([[0, np.nan, 1]], np.float32))


def _wrong_shape(path: Path) -> None:
    np.save(path / "x.npy", np.zeros((1, 4), np.float32))


def _pickled(path: Path) -> None:
    np.save(path / "x.npy", np.array([{}, [], ()], object), allow_pickle=True)


def _cut_off(path: Path) -> None:
    np.save(path / "x.npy", np.zeros((1, 3), np.float32))
    (path / "x.npy").write_bytes((path / "x.npy").read_bytes()[:-4])


def _no_array(path: Path) -> None:
    (path / "x.npy").write_bytes(b"not an array")


def _empty_array(path: Path) -> None:
    np.save(path / "x.npy", np.zeros((0, 3), np.float32))


def _wrong_key(path: Path) -> None:
    np.savez(path / "x.npz", z=np.zeros((1, 3), np.float32))


def _bad_zip(path: Path) -> None:
    (path / "x.npz").write_bytes(b"PK\x03\x04 and then nothing")


def _nothing(path: Path) -> None:
    (path / "x.txt").write_text("0 1 2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_nan, "NaN or infinity"),
        (_wrong_shape, r"shape \[1, 4\] does not fit input x float32\[1, 3\]"),
        (_pickled, "cannot be read"),
        (_cut_off, "cannot be read"),
        (_no_array, "cannot be read"),
        (_empty_array, "empty"),
        (_wrong_key, "has z, the model's inputs are x"),
        (_bad_zip, "cannot be read"),
        (_nothing, "no samples in"),
    ],
)
def test_bad_data_is_refused_with_a_reason(tmp_path: Path, make, message: str) -> None:
    make(tmp_path)
    with pytest.raises(CalibrationError, match=message) as caught:
        list(Samples(tmp_path, [X]))
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_inputs_must_agree_in_their_number_of_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.zeros((2, 3), np.float32), y=np.arange(3))
    with pytest.raises(CalibrationError, match="differ in the number of samples"):
        list(Samples(tmp_path, [X, Y]))


def test_one_array_cannot_feed_two_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3)))
    with pytest.raises(CalibrationError, match="one array") as caught:
        list(Samples(tmp_path, [X, Y]))
    assert ".npz" in caught.value.fix


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="does not exist"):
        Samples(tmp_path / "nowhere", [X])
