from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from deepseek_core.data import random_feeds, read_feeds, save_outputs
from deepseek_core.errors import FeedError
from deepseek_core.ir import TensorInfo

X = TensorInfo("x", "float32", (1, 3))
Y = TensorInfo("y", "uint8", ("N",))


def test_feeds_by_name_and_from_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.float32))
    np.savez(tmp_path / "y.npz", y=np.zeros(4, np.uint8))
    feeds = read_feeds([("x", tmp_path / "x.npy"), (None, tmp_path / "y.npz")], [X, Y])
    assert (feeds["x"].shape, feeds["x"].dtype, feeds["y"].shape) == ((1, 3), np.float32, (4,))


def test_one_input_needs_no_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    assert list(read_feeds([(None, tmp_path / "x.npy")], [X])) == ["x"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x"], "no array for input y"),
        (["x", "x"], "given twice"),
        (["x", "z"], "input 'z' is unknown"),
        (["x", None], "does not say which input"),
    ],
)
def test_feeds_that_do_not_fit(tmp_path: Path, names: list[str | None], message: str) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    with pytest.raises(FeedError, match=message):
        read_feeds([(name, tmp_path / "x.npy") for name in names], [X, Y])


def test_random_feeds_fit_and_repeat() -> None:
    first, second = random_feeds([X, Y]), random_feeds([X, Y])
    assert (first["x"].shape, first["y"].shape, first["y"].dtype) == ((1, 3), (1,), np.uint8)
    np.testing.assert_array_equal(first["x"], second["x"])
    assert not np.array_equal(first["x"], random_feeds([X], seed=1)["x"])


@pytest.mark.parametrize("info", [TensorInfo("x", "float32", None), TensorInfo("x", "object", (1,))])
def test_what_cannot_be_made_up_is_asked_for(info: TensorInfo) -> None:
    with pytest.raises(FeedError) as caught:
        random_feeds([info])
    assert "--input x=FILE.npy" in caught.value.fix


OUTPUTS = {"file": np.arange(3, dtype=np.int8), "a/b:0": np.ones((2, 2), np.float32)}


def test_outputs_come_back_as_they_were(tmp_path: Path) -> None:
    save_outputs(OUTPUTS, tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz", allow_pickle=False) as loaded:
        assert set(loaded.files) == set(OUTPUTS)
        for name, array in OUTPUTS.items():
            np.testing.assert_array_equal(loaded[name], array)


def test_a_folder_gets_a_file_for_each_output(tmp_path: Path) -> None:
    paths = save_outputs(OUTPUTS, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["file.npy", "a_b_0.npy"]
    np.testing.assert_array_equal(np.load(paths[1]), OUTPUTS["a/b:0"])


def test_one_npy_holds_one_output(tmp_path: Path) -> None:
    save_outputs({"y": OUTPUTS["file"]}, tmp_path / "y.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), OUTPUTS["file"])
    with pytest.raises(FeedError, match="2 outputs do not fit"):
        save_outputs(OUTPUTS, tmp_path / "y.npy")


@pytest.mark.parametrize(
    "array",
    [np.array(["a", "bc"], object), np.array([1, -2], ml_dtypes.bfloat16), np.array([1, -2], ml_dtypes.int4)],
    ids=["strings", "bfloat16", "int4"],
)
def test_types_numpy_files_do_not_know_are_written_as_what_holds_them(tmp_path: Path, array: np.ndarray) -> None:
    (path,) = save_outputs({"y": array}, tmp_path / "y.npy")
    assert np.load(path, allow_pickle=False).astype(array.dtype).tolist() == array.tolist()
