"""Calibration data in every form: read once, kept in bounded memory, checked, and cut into batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepseek.quantization.data.batches import fixed_batch, rebatched, rows_of
from deepseek.quantization.data.elements import Folder, elements_of
from deepseek.quantization.data.gather import fitted, from_folder, gather
from deepseek.quantization.data.store import SampleStore
from deepseek.quantization.frontends import open_onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from deepseek_core import TensorInfo
from deepseek_core.errors import CalibrationError


def silent(what: str, fraction: float) -> None:
    return


@pytest.fixture(scope="module")
def network(onnx_network):
    return open_onnx(onnx_network)


def read(network, calibration, limit=None):
    gathered = gather(elements_of(calibration), network.calls, limit, silent)
    return gathered, np.concatenate([sample["image"] for sample in fitted(gathered, network.model)])


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.ones(3, 8, 8)


FORMS = {
    "an array": lambda data: data,
    "a tensor": torch.from_numpy,
    "a mapping": lambda data: {"image": data},
    "arrays": lambda data: [data[:10], data[10:]],
    "single samples": list,
    "a generator": lambda data: (data[i : i + 5] for i in range(0, len(data), 5)),
    "mappings": lambda data: [{"image": torch.from_numpy(data[i : i + 8])} for i in range(0, len(data), 8)],
    "a loader with labels": lambda data: DataLoader(
        TensorDataset(torch.from_numpy(data), torch.zeros(len(data))), batch_size=7
    ),
    "a data set with labels": lambda data: TensorDataset(torch.from_numpy(data), torch.zeros(len(data))),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(network, onnx_samples, form: str) -> None:
    gathered, rows = read(network, FORMS[form](onnx_samples))
    np.testing.assert_array_equal(rows, onnx_samples)
    assert (gathered.rows, gathered.note) == (24, "")


def test_a_shuffled_loader_is_read_once(network, onnx_samples) -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(onnx_samples)), batch_size=4, shuffle=True)
    gathered = gather(elements_of(loader), network.calls, None, silent)
    once, again = ([sample["image"].copy() for sample in gathered.samples] for _ in range(2))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_endless_data_is_read_up_to_the_limit(network) -> None:
    gathered, rows = read(network, Endless(), limit=10)
    assert (gathered.rows, len(rows)) == (10, 10)
    assert gathered.note == "calibrated on the first 10 samples; max_samples= takes more"


def test_a_buffer_that_is_filled_again_is_copied(network) -> None:
    def filling():
        buffer = np.zeros((1, 3, 8, 8), np.float32)
        for number in range(3):
            buffer[:] = number
            yield buffer

    _, rows = read(network, filling())
    assert [row.max() for row in rows] == [0, 1, 2]


def test_few_samples_are_cut_so_that_a_part_can_be_held_out(network, onnx_samples) -> None:
    gathered = gather([onnx_samples], network.calls, None, silent)
    assert len(fitted(gathered, network.model)) == 24


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        ([], "holds no sample; give at least one"),
        (np.zeros((0, 3, 8, 8), np.float32), "holds no sample"),
        (
            np.zeros((2, 3, 9, 8), np.float32),
            r"sample 0: .* has shape \[2, 3, 9, 8\]; .*float32\[N, 3, 8, 8",
        ),
        (np.zeros((2, 3, 8, 8)), "sample 0: input 'image' has dtype float64 instead of float32"),
        (np.zeros((2, 3, 8, 8), np.uint8), "has dtype uint8 instead of float32"),
        (
            [np.zeros((1, 3, 8, 8), np.float32), np.full((1, 3, 8, 8), np.nan, np.float32)],
            "sample 1: .* holds 192 values",
        ),
        ([np.zeros((0, 3, 8, 8), np.float32)], r"sample 0: .* is empty \(shape \[0, 3, 8, 8\]\)"),
        (
            [{"picture": np.zeros((1, 3, 8, 8), np.float32)}],
            r"lacks input \['image'\] and has unknown",
        ),
        ([[]], "sample 0 is a list of 0 arrays"),
        (["text"], "sample 0 is a str"),
        (np.float32(3), "calibration is a float32"),
        (np.array(3), "a single number"),
        ({}, "a mapping, but it is empty"),
        ({"image": 3}, "'image' is no array of samples"),
        ({"image": np.zeros((2, 3)), "mask": np.zeros(3)}, "2 for 'image', 3 for 'mask'"),
        (7, "calibration is a int"),
    ],
)
def test_what_is_wrong_is_named(network, calibration, told: str) -> None:
    with pytest.raises(CalibrationError, match=told):
        read(network, calibration)


def test_what_an_iterable_raises_goes_through(network) -> None:
    def broken():
        yield np.zeros((1, 3, 8, 8), np.float32)
        raise ZeroDivisionError("a bug of the user's")

    with pytest.raises(ZeroDivisionError):
        read(network, broken())


def test_samples_that_differ_in_their_axes(network) -> None:
    gathered = gather([{"image": np.zeros((1, 3, 8, n))} for n in (8, 9)], network.calls, None, silent)
    assert gathered.varying() == {"image": {3}}
    assert gathered.largest()["image"].shape == (1, 3, 8, 9)
    gathered = gather([{"image": np.zeros(shape)} for shape in ((1, 3, 8, 8), (3, 8))], network.calls, None, silent)
    with pytest.raises(CalibrationError, match=r"sample 1: input 'image' has shape \[3, 8\], sample 0 has"):
        gathered.varying()


def test_a_folder_is_read_evenly(network, shelf) -> None:
    chosen = from_folder(Folder(shelf / "samples", limit=6), network.model.inputs, 5, silent)
    assert (chosen.rows, chosen.note) == (6, "")
    capped = from_folder(Folder(shelf / "samples"), network.model.inputs, 5, silent)
    assert (capped.rows, capped.note.split(";")[0]) == (5, "calibrated on 5 of 24 files, spread evenly")
    assert from_folder(Folder(shelf / "samples"), network.model.inputs, 24, silent).note == ""
    with pytest.raises(CalibrationError, match="nowhere"):
        from_folder(Folder(shelf / "nowhere"), network.model.inputs, None, silent)


def test_what_does_not_fit_in_memory_is_on_disk(onnx_samples) -> None:
    store = SampleStore(memory=3 * onnx_samples[0].nbytes)
    for sample in onnx_samples:
        store.add({"image": sample, "odd": np.asfortranarray(sample[0])})
    for _ in range(2):
        for found, wanted in zip(store, onnx_samples, strict=True):
            np.testing.assert_array_equal(found["image"], wanted)
            np.testing.assert_array_equal(found["odd"], wanted[0])
    assert store._file is not None
    assert sum(isinstance(a, np.ndarray) for entry in store._entries for a in entry.values()) <= 6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 6))
def test_rows_keep_their_order_in_batches_of_one_size(sizes: list[int], size: int) -> None:
    total = sum(sizes)
    rows = np.arange(total, dtype=np.float32)
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    found = [sample["x"] for sample in rebatched([{"x": part} for part in parts], size, 99)]
    assert {len(part) for part in found} == {size}
    wanted = rows[: total - total % size] if total >= size else np.resize(rows, size)
    np.testing.assert_array_equal(np.concatenate(found), wanted)


@given(st.integers(1, 40), st.integers(1, 9))
def test_free_batches_are_cut(rows: int, most: int) -> None:
    found = [s["x"] for s in rebatched([{"x": np.arange(rows)}], None, most)]
    np.testing.assert_array_equal(np.concatenate(found), np.arange(rows))
    assert max(map(len, found)) <= most


def test_inputs_without_a_common_first_axis_are_left_alone() -> None:
    odd = {"x": np.zeros((4, 2)), "state": np.zeros((2, 4))}
    assert rows_of(odd) is None
    assert list(rebatched([odd], None, 1)) == [odd]
    assert fixed_batch((TensorInfo("x", "float32", (4, 2)), TensorInfo("s", "float32", (2, 4)))) is None
    assert fixed_batch((TensorInfo("x", "float32", (4, 2)),)) == 4
    assert fixed_batch((TensorInfo("x", "float32", ("N", 2)),)) is None
