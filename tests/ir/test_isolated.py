"""Native calls that crash, hang or eat memory end in an exception."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from deepseek_core.errors import ModelError
from deepseek_core.ir import isolated
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.isolated import CrashError, NativeError, call

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are isolated where the system can fork safely")


def segfault(data):
    ctypes.string_at(0)


def fail(data):
    raise ValueError(data.decode())


def exhaust(data):
    return bytes(1 << 40)


def hang(data):
    time.sleep(60)


def killed(data):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_the_result_comes_back(size):
    assert call(lambda data: data[::-1], b"ab" * size, isolate=True) == b"ba" * size


def test_it_runs_in_another_process_when_asked():
    def work(data):
        return str(os.getpid()).encode()

    assert int(call(work, b"", isolate=False)) == os.getpid()
    assert int(call(work, b"", isolate=True)) != os.getpid()


@pytest.mark.parametrize("work", [segfault, killed])
def test_a_crash_is_an_exception(work):
    with pytest.raises(CrashError):
        call(work, b"", isolate=True)


@pytest.mark.parametrize("isolate", [True, False])
def test_an_exception_keeps_its_words(isolate):
    with pytest.raises(NativeError, match=r"^in words$"):
        call(fail, b"in words", isolate=isolate)


def test_memory_is_bounded():
    with pytest.raises(NativeError, match="MemoryError"):
        call(exhaust, b"", isolate=True)


def test_a_hang_ends(monkeypatch):
    monkeypatch.setattr(isolated, "_SECONDS", 0.2)
    with pytest.raises(CrashError):
        call(hang, b"", isolate=True)


def test_nothing_is_left_behind():
    def descriptors():
        return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())

    def children():
        return sorted(child.pid for child in psutil.Process().children())

    before = descriptors(), children()
    for work in (segfault, fail, len, bytes):
        with pytest.raises((CrashError, NativeError)) if work is not bytes else pytest.MonkeyPatch.context():
            call(work, b"x", isolate=True)
    assert (descriptors(), children()) == before


def test_threads_may_call_at_once():
    results = []

    def work(number):
        results.append(call(lambda data: data * 1000, bytes([number]), isolate=True) == bytes([number]) * 1000)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_a_model_that_crashes_onnx_is_refused(build):
    """onnx's inference of RegexFullMatch reads its input's type, and a vendor operator's output has none."""
    nodes = [("vendor::Text", ["x"], ["t"]), ("RegexFullMatch", ["t"], ["y"], {"pattern": "a"})]
    proto = build(nodes, {"x": ("float", [1])}, ["y"], domains={"vendor": 1})
    with pytest.raises(ModelError, match="crashes"):
        load_model(proto.SerializeToString())
