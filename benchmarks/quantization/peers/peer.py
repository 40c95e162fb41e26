"""What the scripts of all peers share. They run in environments of their own, which lack everything else here.

Usage: SCRIPT METHOD MODEL SAMPLES OUTPUT

Each quantizes the float ONNX file MODEL, calibrated on the .npz files of the folder SAMPLES (one sample each, an array
for every input), and writes the ONNX file OUTPUT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Feeds", "Method", "is_transformer", "load", "main", "save"]

Feeds = dict[str, Any]
Method = Callable[[Path, list[Feeds], Path], None]


def main(methods: Mapping[str, Method]) -> None:
    """Run the method that the command line names."""
    name, model, folder, output = sys.argv[1:]
    methods[name](Path(model), load(Path(folder)), Path(output))


def load(folder: Path) -> list[Feeds]:
    """Samples in the order of their names."""
    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as archive:
            found.append({name: archive[name] for name in archive.files})
    return found


def nodes(graph: Any) -> Iterator[Any]:
    """Nodes of an ONNX graph and of the graphs in its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def is_transformer(model: Any) -> bool:
    """Whether a network is mainly attention: some peers ask to be told."""
    ops = [node.op_type for node in nodes(model.graph)]
    return "Softmax" in ops and ops.count("MatMul") > ops.count("Conv")


def save(model: Any, output: Path) -> None:
    """Write a model as one file, whatever external data it came with."""
    import onnx

    onnx.save_model(model, str(output), save_as_external_data=False)
