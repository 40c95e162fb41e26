"""TopK as loops: TVM's own calls the sort of its runtime. Runs in TVM's process."""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as script

__all__ = ["legalized"]


def legalized(builder: Any, call: Any) -> Any:
    """The k best of each row in order, equal ones by place: every element is inserted among the best so far."""
    attributes = call.attrs
    return builder.call_te(
        _topk, call.args[0], k=int(attributes.k), axis=int(attributes.axis), largest=bool(attributes.largest)
    )


def _topk(data: Any, k: int, axis: int, largest: bool) -> Any:
    shape = [int(size) for size in data.shape]
    axis %= len(shape)
    inner, result = prod(shape[axis + 1 :]), [*shape[:axis], k, *shape[axis + 1 :]]
    buffers = [tirx.decl_buffer(result, dtype, name) for dtype, name in ((data.dtype, "values"), ("int64", "places"))]

    def make(ins: Any, outs: Any) -> Any:
        rows = prod(shape[:axis]) * inner
        return _loops([script.buffer_proxy(buffer) for buffer in (*ins, *outs)], (rows, shape[axis], inner), k, largest)

    return te.extern([result, result], [data], make, dtype=[data.dtype, "int64"], out_buffers=buffers, name="topk")


def _loops(buffers: list[Any], sizes: tuple[int, int, int], k: int, largest: bool) -> Any:
    (data, values, places), (rows, count, inner) = buffers, sizes

    def better(one: Any, other: Any) -> Any:
        return one > other if largest else one < other

    def put(slot: Any, value: Any, place: Any) -> None:
        values[slot] = value
        places[slot] = place

    with IRBuilder() as builder:
        with (
            script.serial(0, tirx.IntImm("int64", rows)) as row,
            script.serial(0, tirx.IntImm("int64", count)) as place,
        ):
            value = data[(row // inner * count + place) * inner + row % inner]
            first = row // inner * (k * inner) + row % inner
            with script.serial(0, tirx.IntImm("int64", k)) as step:
                slot = k - 1 - step
                here = first + slot * inner
                with script.If(slot <= place), script.Then(), script.If(slot > 0):
                    with script.Then(), script.If(better(value, values[here - inner])):
                        with script.Then():
                            put(here, values[here - inner], places[here - inner])
                        with script.Else():
                            _insert(put, here, value, place, tirx.any(slot == place, better(value, values[here])))
                    with script.Else():
                        _insert(put, here, value, place, tirx.any(slot == place, better(value, values[here])))
        return builder.get()


def _insert(put: Any, here: Any, value: Any, place: Any, fits: Any) -> None:
    with script.If(fits), script.Then():
        put(here, value, place)
