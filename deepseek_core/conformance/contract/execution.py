"""Contract: what an opened artifact does, alone, twice, and from several threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.conformance.case import Failed
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.errors import DeepseekError
from deepseek_core.ir import TensorInfo

__all__ = ["CONTRACT"]

CONTRACT = Contract("run")

_THREADS, _ROUNDS = 2, 24

Arrays = Mapping[str, NDArray[Any]]


@CONTRACT.case("interface", "inputs and outputs have the names, types and shapes of the model")
def _interface(context: Context) -> None:
    model = context.sample.model
    with context.opened(context.compile(model)) as executable:
        _same_infos("input", model.inputs, executable.inputs)
        _same_infos("output", model.outputs, executable.outputs)
        context.judge(context.sample, executable.run(context.sample.feeds[0]))


@CONTRACT.case("deterministic", "the same feeds give the same codes, also after other feeds")
def _deterministic(context: Context) -> None:
    feeds, others = context.sample.feeds[0], _other_feeds(context.sample.feeds[0])
    with context.opened(context.compile(context.sample.model)) as executable:
        first = _kept(executable.run(feeds))
        for _ in range(3):
            _same(first, executable.run(feeds), "a repeated run")
            executable.run(others)
            _same(first, executable.run(feeds), "a run after other feeds")


@CONTRACT.case("feeds_unchanged", "a run leaves its feeds as they are")
def _feeds_unchanged(context: Context) -> None:
    feeds = _kept(context.sample.feeds[0])
    with context.opened(context.compile(context.sample.model)) as executable:
        executable.run(feeds)
    _same(context.sample.feeds[0], feeds, "the feeds after a run")


@CONTRACT.case("read_only_feeds", "feeds that cannot be written to are taken")
def _read_only_feeds(context: Context) -> None:
    feeds = _kept(context.sample.feeds[0])
    for array in feeds.values():
        array.flags.writeable = False
    with context.opened(context.compile(context.sample.model)) as executable:
        context.judge(context.sample, executable.run(feeds))


@CONTRACT.case("strided_feeds", "feeds that are not contiguous are read right")
def _strided_feeds(context: Context) -> None:
    feeds = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in context.sample.feeds[0].items()}
    with context.opened(context.compile(context.sample.model)) as executable:
        context.judge(context.sample, executable.run(feeds))


@CONTRACT.case("outputs_kept", "outputs stay as they are when the executable runs again, and after it is closed")
def _outputs_kept(context: Context) -> None:
    feeds = context.sample.feeds[0]
    with context.opened(context.compile(context.sample.model)) as executable:
        outputs = executable.run(feeds)
        kept = _kept(outputs)
        executable.run(_other_feeds(feeds))
        _same(kept, outputs, "the outputs after another run")
    _same(kept, outputs, "the outputs after closing")


@CONTRACT.case("threads", "two threads at once give the same as one")
def _threads(context: Context) -> None:
    feeds = (context.sample.feeds[0], _other_feeds(context.sample.feeds[0]))
    with context.opened(context.compile(context.sample.model)) as executable:
        alone = [_kept(executable.run(each)) for each in feeds]
        barrier = threading.Barrier(_THREADS)

        def work(number: int) -> None:
            barrier.wait()
            for _ in range(_ROUNDS):
                _same(alone[number], executable.run(feeds[number]), "a run beside another thread")

        with ThreadPoolExecutor(_THREADS) as pool:
            for done in [pool.submit(work, number) for number in range(_THREADS)]:
                done.result()


@CONTRACT.case("close", "closing twice is harmless, and the artifact opens again")
def _close(context: Context) -> None:
    artifact, feeds = context.compile(context.sample.model), context.sample.feeds[0]
    with context.opened(artifact) as executable:
        executable.run(feeds)
        executable.close()
    with context.opened(artifact) as executable:
        context.judge(context.sample, executable.run(feeds))


@CONTRACT.case("run_after_close", "running a closed executable is refused, or right")
def _run_after_close(context: Context) -> None:
    with context.opened(context.compile(context.sample.model)) as executable:
        executable.close()
        try:
            outputs = executable.run(context.sample.feeds[0])
        except DeepseekError:
            return
        context.judge(context.sample, outputs)


@CONTRACT.case("two_executables", "closing one executable leaves another of the same artifact alone")
def _two_executables(context: Context) -> None:
    artifact = context.compile(context.sample.model)
    with context.opened(artifact) as first:
        with context.opened(artifact) as second:
            second.run(context.sample.feeds[0])
        context.judge(context.sample, first.run(context.sample.feeds[0]))


def _same_infos(kind: str, declared: tuple[TensorInfo, ...], given: tuple[TensorInfo, ...]) -> None:
    if {info.name: info for info in declared} != {info.name: info for info in given}:
        raise Failed(f"the executable's {kind}s are {_words(given)}, the model's {_words(declared)}")


def _words(infos: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{info.name} {info.dtype}{list(info.shape or ())}" for info in infos) or "none"


def _other_feeds(feeds: Arrays) -> dict[str, NDArray[Any]]:
    """The same values in another order: of the same type, and all legal."""
    return {name: np.ascontiguousarray(array.reshape(-1)[::-1].reshape(array.shape)) for name, array in feeds.items()}


def _kept(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: array.copy() for name, array in arrays.items()}


def _same(want: Arrays, got: Arrays, what: str) -> None:
    for name, array in want.items():
        if name not in got or not _equal(array, got[name]):
            raise Failed(f"'{name}' differs in {what}")


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Same type, shape and bits."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
