from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.selection import TuningCache, cache_folder

WRITER = """
import sys
from deepseek_core.selection import TuningCache
path, name = sys.argv[1:]
for i in range(25):
    cache = TuningCache(path)
    cache.put("cpu", f"{name}{i}", {"int8": float(i)})
    cache.save()
"""


def test_figures_come_back(tmp_path) -> None:
    cache = TuningCache(tmp_path / "sub" / "cache.json")
    assert cache.get("cpu", "conv") == {}
    cache.put("cpu", "conv", {"int8": 1e-5})
    cache.put("cpu", "conv", {"float32": 2e-5})
    assert cache.get("cpu", "conv") == {"int8": 1e-5, "float32": 2e-5}
    cache.save()
    again = TuningCache(cache.path)
    assert again.get("cpu", "conv") == {"int8": 1e-5, "float32": 2e-5}
    assert again.get("another cpu", "conv") == {}


def test_nothing_new_writes_nothing(tmp_path) -> None:
    TuningCache(tmp_path / "cache.json").save()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_lose_nothing(tmp_path) -> None:
    path = tmp_path / "cache.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = TuningCache(path)
    for name in ("a", "b"):
        for i in range(25):
            assert cache.get("cpu", f"{name}{i}") == {"int8": float(i)}, (name, i)


def test_saving_keeps_what_another_process_wrote(tmp_path) -> None:
    path = tmp_path / "cache.json"
    mine, other = TuningCache(path), TuningCache(path)
    other.put("cpu", "theirs", {"int8": 1.0})
    other.save()
    mine.put("cpu", "mine", {"int8": 2.0})
    mine.save()
    assert TuningCache(path).get("cpu", "theirs") == {"int8": 1.0}
    assert mine.get("cpu", "theirs") == {"int8": 1.0}


BROKEN = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[]",
    b'{"schema": 99, "latencies": {}}',
    b'{"schema": 1}',
    b'{"schema": 1, "latencies": []}',
    b'{"schema": 1, "latencies": {"cpu": 3}}',
    b'{"schema": 1, "latencies": {"cpu": {"conv": []}}}',
    b'{"schema": 1, "latencies": {"cpu": {"conv": {"int8": "fast"}}}}',
    b'{"schema": 1, "latencies": {"cpu": {"conv": {"int8": NaN}}}}',
    b'{"schema": 1, "latencies": {"cpu": {"conv": {"int8": -1}}}}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_ignored_with_a_warning_and_replaced(tmp_path, content) -> None:
    path = tmp_path / "cache.json"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is ignored"):
        cache = TuningCache(path)
    cache.put("cpu", "conv", {"int8": 1.0})
    with pytest.warns(UserWarning, match="is ignored"):
        cache.save()
    assert TuningCache(path).get("cpu", "conv") == {"int8": 1.0}


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_never_raises(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("cache") / "cache.json"
    whole = json.dumps({"schema": 1, "latencies": {"cpu": {"conv": {"int8": 0.5}}}}).encode()
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:position] + data.draw(st.binary(max_size=3)) + whole[position + 1 :]
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match="is ignored") if not _reads(damaged) else contextlib.nullcontext():
        assert TuningCache(path).get("cpu", "conv").get("int8", 0.0) >= 0.0


def _reads(content: bytes) -> bool:
    from deepseek_core.selection.cache import _parse

    try:
        _parse(json.loads(content.decode("utf-8")))
    except ValueError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path) -> None:
    tmp_path.chmod(0o500)
    cache = TuningCache(tmp_path / "cache.json")
    cache.put("cpu", "conv", {"int8": 1.0})
    with pytest.warns(UserWarning, match="not kept"):
        cache.save()


def test_a_path_below_a_file_costs_a_warning(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.warns(UserWarning, match="is ignored"):
        cache = TuningCache(tmp_path / "file" / "cache.json")
    cache.put("cpu", "conv", {"int8": 1.0})
    with pytest.warns(UserWarning, match="not kept"):
        cache.save()
    assert cache.get("cpu", "conv") == {"int8": 1.0}


def test_the_folder_can_be_chosen(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DEEPSEEK_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "deepseek"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == Path(tmp_path / ".cache" / "deepseek")
