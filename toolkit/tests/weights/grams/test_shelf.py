from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deepseek.quantization.grams.shelf import Shelf


def test_values_come_back_from_memory_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = [{"a/b": np.full((4,), i, np.float32), "flag": np.array(True)} for i in range(5)]
    with Shelf(limit=40) as shelf:
        for number, tensors in enumerate(kept):
            shelf.put(number, tensors)
        assert any(tmp_path.iterdir())
        for number, tensors in enumerate(kept):
            found = shelf.get(number)
            assert list(found) == list(tensors)
            assert all(np.array_equal(found[name], array) for name, array in tensors.items())
    assert not any(tmp_path.iterdir())


def test_a_new_set_replaces_the_old_one_and_frees_its_room() -> None:
    with Shelf(limit=16) as shelf:
        for value in range(3):
            shelf.put(0, {"x": np.full(4, value, np.float32)})
        assert shelf.get(0)["x"][0] == 2
        shelf.put(0, {"y": np.zeros(100, np.float32)})
        assert list(shelf.get(0)) == ["y"]
        shelf.put(1, {"y": np.ones(2, np.float32)})
        assert shelf.get(1)["y"].sum() == 2


def test_sets_of_other_names_lie_side_by_side() -> None:
    with Shelf(limit=0) as shelf:
        shelf.put(0, {"x": np.zeros(2)})
        shelf.put(1, {"y": np.ones(2), "z": np.ones(1)})
        assert list(shelf.get(0)) == ["x"]
        assert list(shelf.get(1)) == ["y", "z"]


def test_objects_stay_in_memory() -> None:
    with Shelf(limit=0) as shelf:
        shelf.put(0, {"text": np.array(["word"], object)})
        assert shelf.get(0)["text"][0] == "word"
