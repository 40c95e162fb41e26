"""An image beside every peer, on the same network: instructions per inference, and whether all compute the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from arm_counting import Counter
from arm_peers.environments import versions
from arm_peers.loops import count_loops
from arm_peers.runtimes import RUNTIMES, Counted
from deepseek_core import QuantizedModel
from harness import Figure
from harness import console as terminal

__all__ = ["LOOPS", "Comparison", "Network"]

CORES = {"int8": ("cortex-a72", "cortex-a76"), "fp32": ("cortex-a72",)}
"""Where all peers are counted; ONNX Runtime's int8, the fastest of them, on more."""
LOOPS, _NAIVE = "loops", "cortex-a72"
_ALIKE = {"int8": 0.98, "fp32": 0.99999}
"""Least cosine between the outputs of two runtimes."""


@dataclass(frozen=True, slots=True)
class Network:
    """What is compared.

    Attributes:
        models: `int8` with Q and DQ nodes, and `fp32`; static shapes.
        feeds: by input, in the model's order.
    """

    title: str
    models: Mapping[str, QuantizedModel]
    feeds: Mapping[str, NDArray[np.generic]]

    def save(self, folder: Path) -> tuple[dict[str, Path], Path]:
        """ONNX files by kind, and the inputs, for peers to read."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {kind: folder / f"{kind}.onnx" for kind in self.models}
        for kind, model in self.models.items():
            files[kind].write_bytes(ir.to_proto(model.model).SerializeToString(deterministic=True))
        np.savez(folder / "feeds.npz", allow_pickle=False, **self.feeds)
        return files, folder / "feeds.npz"


@dataclass(slots=True)
class Comparison:
    """Counts of one network.

    Attributes:
        counts: core → who and what → millions of instructions.
        failed: who and what → why there is no count.
    """

    network: Network
    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, cpu: str, name: str, instructions: int) -> None:
        self.counts.setdefault(cpu, {})[name] = instructions / 1e6

    def run(self, cpus: Sequence[str], counter: Counter, folder: Path, peers: Sequence[str]) -> None:
        """Count peers: keys of `RUNTIMES`, or `LOOPS` for plain C; one that fails is noted, with the reason."""
        files, feeds = self.network.save(folder)
        answers: dict[str, list[Counted]] = {kind: [] for kind in files}
        for runtime in (runtime for runtime in RUNTIMES if runtime.key in peers):
            for kind, file in files.items():
                for cpu in cpus if runtime.compiled is None and kind == "int8" else CORES[kind]:
                    name = f"{runtime.title} {kind}"
                    terminal().print(f"[dim]{self.network.title}: {name} on {cpu}")
                    try:
                        counted = runtime.count(file, feeds, cpu, counter)
                        self._check(kind, answers[kind], counted)
                    except RuntimeError as error:
                        self.failed[name] = str(error)
                        break
                    self.add(cpu, name, counted.instructions)
        if LOOPS in peers:
            self._loops(counter, answers["fp32"])

    def _loops(self, counter: Counter, answers: list[Counted]) -> None:
        network = self.network
        try:
            counted = count_loops(network.models["fp32"], network.feeds, _NAIVE, counter, network.title)
            self._check("fp32", answers, counted)
        except RuntimeError as error:
            self.failed[LOOPS] = str(error)
        else:
            self.add(_NAIVE, LOOPS, counted.instructions)

    def _check(self, kind: str, answers: list[Counted], counted: Counted) -> None:
        """What does not compute the network is no peer."""
        answers.append(counted)
        for one, other in zip(answers[0].outputs, counted.outputs, strict=True):
            first, second = one.ravel(), other.ravel()
            if first @ second < _ALIKE[kind] * np.linalg.norm(first) * np.linalg.norm(second):
                raise RuntimeError("its outputs are not those of the other runtimes")

    def figures(self, own: Mapping[str, float]) -> Iterator[Figure]:
        """Ratios.

        Args:
            own: core → millions of instructions of the image.
        """
        title = self.network.title
        for cpu, millions in own.items():
            for kind in self.network.models:
                peers = {n: v for n, v in self.counts.get(cpu, {}).items() if n.endswith(kind)}
                if peers:
                    best = min(peers, key=peers.__getitem__)
                    name = f"{title}: against the best {kind} peer on {cpu}"
                    yield Figure(name, millions / peers[best], "×", "<", 1.0, f"{best}: {peers[best]:,.1f} M")
        loops = self.counts.get(_NAIVE, {}).get(LOOPS)
        if loops is not None:
            note = f"float32, gcc -O2: {loops:,.1f} M"
            yield Figure(f"{title}: plain C loops against the image", loops / own[_NAIVE], "×", ">=", 5.6, note)

    def details(self) -> dict[str, object]:
        """For `--json`."""
        peers = {runtime.title: versions(runtime.key) for runtime in RUNTIMES}
        return {"basis": "emulated", "peers": peers, "millions": self.counts, "failed": self.failed}
