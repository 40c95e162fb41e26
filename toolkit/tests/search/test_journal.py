from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from deepseek.quantization.search.journal import Journal, digest_of_samples, kept

from deepseek_core.errors import StorageError


def test_every_entry_is_on_disk_at_once(tmp_path: Path) -> None:
    Journal(tmp_path / "new").put("a", {"noise": float("inf")})
    assert Journal(tmp_path / "new").get("a") == {"noise": float("inf")}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["trials.json"]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal()
    journal.put("a", 1)
    assert (journal.get("a"), journal.get("b"), list(tmp_path.iterdir())) == (1, None, [])


@pytest.mark.parametrize("text", ["", "[1]", '{"version": 99, "trials": {}}', '{"version": 1}'])
def test_what_is_no_journal_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "trials.json").write_text(text)
    with pytest.raises(StorageError, match=r"trials\.json"):
        Journal(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot use folder"):
        Journal(tmp_path / "file")


def test_an_interrupted_search_leaves_its_trials_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))
    journal = Journal()
    journal.put("a", 1)
    with pytest.raises(KeyboardInterrupt) as caught, kept(journal):
        raise KeyboardInterrupt
    (note,) = caught.value.__notes__
    folder = note.split("resume='")[1].rstrip("'")
    assert json.loads((Path(folder) / "trials.json").read_text())["trials"] == {"a": 1}


def test_samples_are_told_apart_by_name_type_shape_and_value() -> None:
    zeros = np.zeros((2, 3), np.float32)
    kinds = [
        [{"x": zeros}],
        [{"y": zeros}],
        [{"x": zeros.astype(np.float64)}],
        [{"x": zeros.reshape(3, 2)}],
        [{"x": zeros + 1}],
        [{"x": zeros}, {"x": zeros}],
        [{"x": np.array(["a"], object)}],
        [{"x": np.array(["b"], object)}],
    ]
    assert len({digest_of_samples(kind) for kind in kinds}) == len(kinds)
    assert digest_of_samples(kinds[0]) == digest_of_samples([{"x": zeros.copy()}])
