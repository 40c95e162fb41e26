"""Streaming samples: every way a sample can be wrong is one line that says so."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from deepseek_core.calibration import Calibration, collect
from deepseek_core.errors import CalibrationError
from deepseek_core.ir.model import TensorInfo

GOOD = np.arange(1, 7, dtype=np.float32).reshape(2, 3)


def test_taps_and_inputs_are_counted(executable, stats_of):
    found = collect(executable, [{"x": GOOD}, {"x": 2 * GOOD[:1]}], ["x", "log"])
    x = np.concatenate([GOOD, 2 * GOOD[:1]])
    assert found == Calibration({"x": stats_of(x), "log": stats_of(np.log(x))})


def test_samples_stream_once_and_one_at_a_time(executable):
    alive = []

    def generator():
        for number in range(5):
            alive.append(executable.runs)
            yield {"x": GOOD + number}

    collect(executable, generator(), ["double"])
    assert alive == [0, 1, 2, 3, 4]


def test_sharded_runs_merge_into_the_whole_run(executable):
    samples = [{"x": np.exp(np.random.default_rng(i).normal(size=(4, 3))).astype(np.float32)} for i in range(9)]
    names = ["double", "log", "x"]
    whole = collect(executable, samples, names)
    parts = [collect(executable, samples[i::3], names[::-1]) for i in (2, 0, 1)]
    groups = [collect(executable, samples, [name]) for name in names]
    assert parts[0].merge(parts[1]).merge(parts[2]).digest() == whole.digest()
    assert groups[2].merge(groups[0]).merge(groups[1]).digest() == whole.digest()


def test_progress_ends_at_one_and_never_falls(executable):
    for samples in ([{"x": GOOD}] * 4, iter([{"x": GOOD}] * 4), (s for s in [{"x": GOOD}] * 4)):
        told = []
        collect(executable, samples, ["log"], lambda *report, told=told: told.append(report))
        fractions = [fraction for _, fraction in told]
        assert len(fractions) == 5
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (GOOD, "is a ndarray, not a mapping"),
        ({}, r"lacks input \['x'\]"),
        ({"y": GOOD}, r"lacks input \['x'\] and has unknown input \['y'\]"),
        ({"x": GOOD.tolist()}, "'x' is a list, not a NumPy array"),
        ({"x": GOOD.astype(np.float64)}, "has dtype float64 instead of float32"),
        ({"x": GOOD.T.copy()}, r"has shape \[3, 2\]"),
        ({"x": GOOD[0]}, r"has shape \[3\]"),
        ({"x": GOOD[:0]}, r"is empty \(shape \[0, 3\]\)"),
        ({"x": np.array([[1, math.nan, math.inf]], np.float32)}, "holds 2 values that are NaN or infinite"),
    ],
)
def test_a_bad_sample_is_one_line(executable, sample, message):
    with pytest.raises(CalibrationError, match=f"calibration sample 1.*{message}") as caught:
        collect(executable, [{"x": GOOD}, sample], ["log"])
    assert "\n" not in str(caught.value)
    assert "x float32[n, 3]" in str(caught.value)
    assert executable.runs == 1


def test_no_sample_at_all(executable):
    with pytest.raises(CalibrationError, match="holds no sample"):
        collect(executable, iter(()), ["log"])


def test_symbolic_sizes_agree_within_a_sample(executable):
    executable.inputs = (TensorInfo("x", "float32", ("n", 3)), TensorInfo("m", "float32", ("n",)))
    fits = {"x": GOOD, "m": GOOD[:, 0]}
    collect(executable, [fits, {"x": GOOD[:1], "m": GOOD[:1, 0]}], ["m"])
    with pytest.raises(CalibrationError, match=r"'m' has shape \[1\]"):
        collect(executable, [{"x": GOOD, "m": GOOD[:1, 0]}], ["m"])


def test_unknown_and_scalar_shapes(executable):
    executable.inputs = (TensorInfo("x", "float32", None), TensorInfo("t", "int64", ()))
    found = collect(executable, [{"x": GOOD, "t": np.array(3)}], ["double"])
    assert found["double"].count == 6


def test_the_first_tensor_that_is_not_finite_is_named(executable):
    with pytest.raises(CalibrationError, match="tensor 'log' has 1 NaN and 2 infinite values in sample 1"):
        collect(executable, [{"x": GOOD}, {"x": np.array([[-1, 0, 0]], np.float32)}], ["double", "log"])


def test_a_name_that_the_executable_does_not_return(executable):
    with pytest.raises(CalibrationError, match="does not return tensor 'tap'"):
        collect(executable, [{"x": GOOD}], ["log", "tap"])
    assert executable.runs == 0


def test_an_interrupt_passes_through(executable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def samples():
        yield {"x": GOOD}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(executable, samples(), ["log"])
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_number_of_samples(function_executable):
    shape = (1, 64, 64, 32)

    def function(feeds):
        return {name: feeds["x"] * scale for name, scale in (("a", 1.0), ("b", 1e-3), ("c", 1e3))}

    executable = function_executable((TensorInfo("x", "float32", shape),), ("a", "b", "c"), function)

    def peak(count):
        generator = np.random.default_rng(0)
        # Ever wider, so that the histograms grow all the time.
        samples = ({"x": generator.normal(0, 1 + i, shape).astype(np.float32)} for i in range(count))
        tracemalloc.start()
        collect(executable, samples, ["a", "b", "c"])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)  # whatever is allocated once
    assert peak(64) < 1.02 * peak(4)
