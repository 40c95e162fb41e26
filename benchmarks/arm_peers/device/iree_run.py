"""IREE: a module that its compiler made, on the synchronous local device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import iree.runtime
from once import Feeds, main


def opened(model: str, feeds: Feeds) -> Callable[[], Sequence[Any]]:
    config = iree.runtime.Config("local-sync")
    context = iree.runtime.SystemContext(config=config)
    module = iree.runtime.VmModule.mmap(config.vm_instance, model)
    context.add_vm_module(module)
    names = [name for name in module.function_names if not name.startswith("__") and "$" not in name]
    function = context.modules[module.name][names[0]]

    def run() -> Sequence[Any]:
        results = function(*feeds.values())
        several = results if isinstance(results, (list, tuple)) else [results]
        return [result.to_host() for result in several]

    return run


main(opened)
