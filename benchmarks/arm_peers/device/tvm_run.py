"""TVM: a library that its compiler made, in Relax's virtual machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from once import Feeds, main
from tvm import relax


def opened(model: str, feeds: Feeds) -> Callable[[], Sequence[Any]]:
    machine = relax.VirtualMachine(tvm.runtime.load_module(model), tvm.cpu())
    tensors = [tvm.runtime.tensor(array) for array in feeds.values()]

    def run() -> Sequence[Any]:
        results = machine["main"](*tensors)
        several = [results] if hasattr(results, "numpy") else list(results)
        return [result.numpy() for result in several]

    return run


main(opened)
