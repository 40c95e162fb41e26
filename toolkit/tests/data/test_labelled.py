"""Labelled folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deepseek.quantization.data.elements import Folder
from deepseek.quantization.data.labelled import Labelled, refuse_overlap

from deepseek_core import TensorInfo
from deepseek_core.errors import CalibrationError, ConfigError

INPUTS = (TensorInfo("x", "float32", ("N", 3)),)


def fill(folder: Path, rows: np.ndarray, names: list[str]) -> Path:
    for row, name in zip(rows, names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, row.astype(np.float32))
    return folder


def network(feeds):
    return {"scores": feeds["x"], "other": np.zeros(9)}


def measured(folder: Path) -> float:
    return Labelled(Folder(folder)).accuracy(INPUTS)(network)


def test_classes_in_sub_folders(tmp_path: Path) -> None:
    fill(tmp_path, np.eye(3), ["cat/a.npy", "dog/b.npy", "eel/c.npy"])
    assert measured(tmp_path) == 1.0
    fill(tmp_path, np.eye(3)[:1], ["eel/d.npy"])
    assert measured(tmp_path) == 0.75


def test_classes_in_a_list(tmp_path: Path) -> None:
    fill(tmp_path, np.eye(3), ["a.npy", "b.npy", "deep/c.npy"])
    (tmp_path / "labels.csv").write_text("file,class_index,title\na.npy,0,cat\nb.npy,0,cat\ndeep/c.npy,2,eel\n")
    assert measured(tmp_path) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,label\na.npy,0\n", r"b\.npy has no label"),
        ("name,kind\na.npy,0\n", "has the columns name, kind; name them file and label"),
        ("file,label\na.npy,cat\n", "line 2 has no number"),
        ("file,label\na.npy\n", "line 2 has no number"),
    ],
)
def test_lists_that_do_not_say_it(tmp_path: Path, text: str, told: str) -> None:
    fill(tmp_path, np.eye(3)[:2], ["a.npy", "b.npy"])
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CalibrationError, match=told):
        measured(tmp_path)


def test_a_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"a\.npy has no label; list it in labels\.csv"):
        measured(fill(tmp_path, np.eye(3)[:1], ["a.npy"]))


def test_one_sample_to_a_file(tmp_path: Path) -> None:
    fill(tmp_path, np.eye(3)[np.newaxis], ["cat/a.npy"])
    with pytest.raises(CalibrationError, match="files with several samples"):
        measured(tmp_path)


def test_nothing_judges_what_it_was_calibrated_on(tmp_path: Path) -> None:
    fill(tmp_path, np.eye(3), ["one/a.npy", "one/b.npy", "two/c.npy"])
    refuse_overlap(tmp_path / "one", tmp_path / "two", INPUTS)
    with pytest.raises(ConfigError, match=r"c\.npy is for calibration and for evaluation"):
        refuse_overlap(tmp_path, tmp_path / "two", INPUTS)
