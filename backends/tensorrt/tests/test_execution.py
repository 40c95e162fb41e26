"""Runs on a device, against a driver whose device is the host's memory: what is called, and what comes out."""

import ctypes
import threading
from collections import Counter

import numpy as np
import pytest

from deepseek_backend_tensorrt.runtime import TensorRTExecutable
from deepseek_backend_tensorrt.vendor.arrays import DeviceArray
from deepseek_core import CompileOptions, Target
from deepseek_core.errors import BackendError, FeedError

TARGET = Target("tensorrt", "sm_90")
SHAPES = {"x": (1, 3, 16, 16)}


@pytest.fixture
def open_(here, registry, network):
    """Compiles the network with options and opens it in this process."""
    opened: list[TensorRTExecutable] = []

    def call(**extra: str) -> TensorRTExecutable:
        backend = registry.backend("tensorrt")
        artifact = backend.compile(network, TARGET, CompileOptions(optimize=0, extra=extra))
        opened.append(backend.load(artifact))
        here.write_text("")
        return opened[-1]

    yield call
    for executable in opened:
        executable.close()


def _calls(log) -> Counter:
    return Counter(log.read_text().splitlines())


def test_repeated_runs_launch_one_captured_graph(here, open_, feeds) -> None:
    executable = open_()
    results = [executable.run(feeds)["y"] for _ in range(5)]
    calls = _calls(here)
    assert calls["begin capture"] == calls["end capture"] == calls["instantiate"] == 1
    assert calls["launch"] == 4, "one plain run, then the graph"
    assert calls["captured copy in"] == calls["captured copy out"] == 1
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_graph_sees_new_feeds(open_, feeds) -> None:
    executable = open_()
    first = [executable.run(feeds)["y"] for _ in range(3)][-1]
    other = executable.run({"x": -feeds["x"]})["y"]
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(executable.run(feeds)["y"], first)


def test_without_graphs_every_run_is_enqueued(here, open_, feeds) -> None:
    executable = open_(graphs="off")
    for _ in range(3):
        executable.run(feeds)
    assert _calls(here)["begin capture"] == 0
    assert _calls(here)["copy in"] == 3


def test_work_that_no_graph_holds_runs_all_the_same(here, open_, feeds, monkeypatch) -> None:
    executable = open_()
    first = executable.run(feeds)["y"]
    monkeypatch.setenv("FAKE_CUDA_NO_CAPTURE", "1")
    np.testing.assert_array_equal(executable.run(feeds)["y"], first)
    np.testing.assert_array_equal(executable.run(feeds)["y"], first)
    assert _calls(here)["launch"] == 0


def test_copies_go_through_pinned_memory_that_is_kept(here, open_, feeds) -> None:
    executable = open_()
    for _ in range(4):
        executable.run(feeds)
    assert _calls(here)["pin"] == 2, "one for the input, one for the output"
    executable.close()
    calls = _calls(here)
    assert calls["unpin"] == 2
    assert calls["free"] == calls["alloc"] == 2
    assert calls["graph destroyed"] == 1


def test_arrays_on_the_device_are_neither_copied_nor_waited_for(here, open_, feeds) -> None:
    executable = open_()
    wanted = executable.run(feeds)["y"]
    here.write_text("")
    source, result = np.ascontiguousarray(feeds["x"]), np.zeros_like(wanted)
    given = DeviceArray(source.ctypes.data, source.shape, "float32")
    executable.run_device({"x": given}, {"y": DeviceArray(result.ctypes.data, result.shape, "float32")}, stream=55)
    calls = _calls(here)
    assert not any("copy" in call for call in calls)
    assert calls["wait"] == 0
    assert calls["record"] == 1, "whoever uses the context next waits for this"
    np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(executable.run(feeds)["y"], wanted)


def test_room_for_outputs_can_be_asked_for(open_) -> None:
    assert open_().device_shapes(SHAPES) == {"y": (1, 10)}


def test_an_array_that_does_not_fit_is_refused(open_, feeds) -> None:
    executable = open_()
    out = np.zeros((1, 10), np.float32)
    output = {"y": DeviceArray(out.ctypes.data, out.shape, "float32")}
    half = DeviceArray(feeds["x"].ctypes.data, (1, 3, 16, 16), "float16")
    with pytest.raises(FeedError, match="float16"):
        executable.run_device({"x": half}, output)
    with pytest.raises(FeedError, match=r"\[1, 3, 8, 8\]"):
        executable.run_device({"x": DeviceArray(1, (1, 3, 8, 8), "float32")}, output)
    with pytest.raises(BackendError, match="output 'y'"):
        executable.run_device({"x": half})
    with pytest.raises(FeedError, match="no array on a device"):
        executable.run_device({"x": [1.0]}, output)


def test_a_run_beside_another_has_a_lane_of_its_own(here, open_, feeds) -> None:
    executable = open_(lanes="2")
    wanted = executable.run(feeds)["y"]
    engine = executable._runner.engine
    busy = engine._lane()
    assert _calls(here)["stream"] == 0
    np.testing.assert_array_equal(executable.run(feeds)["y"], wanted)
    assert _calls(here)["stream"] == 1, "the other lane"
    engine._free.put(busy)


def test_many_threads_share_few_lanes(open_, feeds) -> None:
    executable = open_(lanes="2")
    pairs = [(x, executable.run({"x": x})["y"]) for x in (feeds["x"], -feeds["x"], feeds["x"] / 2)]
    wrong = []

    def work(x, wanted) -> None:
        for _ in range(6):
            if not np.array_equal(executable.run({"x": x})["y"], wanted):
                wrong.append(1)

    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_device_too_small_for_the_engine_says_by_how_much(here, registry, network, monkeypatch) -> None:
    backend = registry.backend("tensorrt")
    artifact = backend.compile(network, TARGET, CompileOptions(optimize=0))
    monkeypatch.setenv("FAKE_CUDA_MEMORY", str(1 << 19))
    with pytest.raises(BackendError, match=r"out of device memory: a context of the engine needs 1,048,576 bytes"):
        backend.load(artifact)


def test_running_out_of_memory_leaves_what_was_open_intact(here, registry, network, feeds, monkeypatch) -> None:
    backend = registry.backend("tensorrt")
    artifact = backend.compile(network, TARGET, CompileOptions(optimize=0))
    monkeypatch.setenv("FAKE_TENSORRT_SCRATCH", "100")
    first, second = backend.load(artifact), backend.load(artifact)
    wanted = first.run(feeds)["y"]
    monkeypatch.setenv("FAKE_CUDA_MEMORY", "4000")
    with pytest.raises(BackendError, match=r"out of device memory: 'x' \[1, 3, 16, 16\] needs 3,072 bytes") as error:
        second.run(feeds)
    assert "smaller" in error.value.fix
    np.testing.assert_array_equal(first.run(feeds)["y"], wanted)
    first.close()
    np.testing.assert_array_equal(second.run(feeds)["y"], wanted)
    second.close()


def test_times_are_the_devices_and_one_for_each_round(open_) -> None:
    assert open_().time(SHAPES, rounds=4) == [0.0005] * 4


def test_a_closed_executable_says_so(open_, feeds) -> None:
    executable = open_()
    executable.close()
    executable.close()
    with pytest.raises(BackendError, match="closed"):
        executable.run(feeds)


def test_the_fake_driver_is_the_one_that_is_loaded(driver_library) -> None:
    assert ctypes.CDLL(str(driver_library)).fakeCapturing is not None
