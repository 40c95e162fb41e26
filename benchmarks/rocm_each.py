"""Units of a network one by one: each alone on the emulator, fed with the reference's values, against its results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deepseek_backend_rocm.compiler import build_image
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_core import CompileOptions, Placement, Target
from deepseek_core.partition import split
from deepseek_core.reference import evaluate
from rocm_networks import Case

__all__ = ["alone"]


def alone(case: Case, architecture: str) -> Iterator[dict[str, Any]]:
    """A row for each unit: what it is, its kernels, and how many elements of it differ from the reference's."""
    target, units = Target("rocm", architecture), case.model.units()
    names = [unit.name for unit in units]
    parts = split(case.model, Placement(dict.fromkeys(names, target), tuple((name,) for name in names)))
    graphs = [part.model.graph for part in parts]
    crossing = sorted({value.name for graph in graphs for value in graph.outputs if value.name is not None})
    feeds = case.judged[0]
    known = {**feeds, **evaluate(case.model, feeds, crossing)}
    for unit, part in zip(units, parts, strict=True):
        image = build_image(part.model, target, CompileOptions())
        executable = RocmExecutable(image, EmulatedDevice(architecture))
        inputs = [value.name for value in part.model.graph.inputs if value.name not in part.model.graph.initializers]
        results = executable.run({name: known[name] for name in inputs if name is not None})
        executable.close()
        different = sum(int(np.count_nonzero(array != known[name])) for name, array in results.items())
        kernels = [
            image.programs[architecture].kernels[launch.kernel].name for launch in image.programs[architecture].launches
        ]
        elements = sum(array.size for array in results.values())
        yield {"unit": unit.name, "op": unit.op, "elements": elements, "different": different, "kernels": kernels}
