"""A quantizer on a network: run once, judged once, both kept in the cache."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepseek_core.atomic import atomic_write
from quantization import coverage as coverage_module
from quantization import job
from quantization import judge as judge_module
from quantization import metrics as metrics_module
from quantization import session as session_module
from quantization.cache import code, digest, root
from quantization.coverage import coverage
from quantization.judge import judge
from quantization.methods import Method
from quantization.networks import modules
from quantization.networks.base import MODEL, Network, Prepared

__all__ = ["Limits", "Result", "known", "obtain"]

_JUDGE = [Path(str(module.__file__)) for module in (judge_module, metrics_module, session_module, coverage_module)]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a quantization is stopped: seconds of CPU time, resident bytes."""

    seconds: float = 1200.0
    memory: int = 12_000_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """What a method reached on a network.

    Attributes:
        scores: a value for each of the network's metrics; empty where there is no result.
        agreement: share of decisions taken as fp32 takes them.
        sqnr: of the output, in dB.
        bits: of a weight, on average.
        activations: share of layers with quantized input.
        bytes: of the ONNX file.
        seconds: wall time of the quantization; `cpu` its CPU time; `peak` its resident bytes at most.
        error: why there is no result.
    """

    network: str
    method: str
    precision: str
    scores: tuple[float, ...] = ()
    agreement: float = float("nan")
    sqnr: float = float("nan")
    bits: float = 32.0
    activations: float = 0.0
    bytes: int = 0
    seconds: float = float("nan")
    cpu: float = float("nan")
    peak: int = 0
    error: str | None = None

    @property
    def time(self) -> float:
        """Seconds: the smaller of CPU and wall time, so that neither other load nor spinning threads count."""
        return min(self.cpu, self.seconds)

    @property
    def ours(self) -> bool:
        return self.method.startswith("deepseek/")

    @property
    def competes(self) -> bool:
        """Whether it is quantized as its precision says; a network left in float loses nothing and proves nothing."""
        widest = 16 if self.precision.startswith("W8") else 8
        inputs = self.precision.endswith("A16") or self.activations >= 0.5
        return self.error is None and self.bits <= widest and inputs


@dataclass(frozen=True, slots=True)
class _Files:
    """Where the cache keeps what belongs to a method on a network."""

    model: Path
    job: Path
    verdict: Path

    @classmethod
    def of(cls, network: Network, prepared: Prepared, method: Method) -> _Files:
        name = f"{network.name}-{method.name.replace('/', '-')}-{digest([], method.key(), prepared.work)}"
        judged = f"{name}-{digest([], code([*_JUDGE, *modules(network)]), prepared.task)}"
        folder = root()
        return cls(
            folder / "models" / f"{name}.onnx", folder / "jobs" / f"{name}.json", folder / "verdicts" / f"{judged}.json"
        )

    def whole(self) -> bool:
        """Whether a quantization is kept: its failure, or what it took and its model."""
        return self.job.exists() and (self.model.exists() or bool(json.loads(self.job.read_text())["error"]))


def known(network: Network, prepared: Prepared, method: Method) -> bool:
    """Whether the cache has a quantization of this network by this method."""
    return _Files.of(network, prepared, method).whole()


def obtain(
    network: Network,
    prepared: Prepared,
    method: Method,
    limits: Limits,
    *,
    fresh: bool = False,
    watch: Callable[[float], None] | None = None,
) -> Result:
    """The result out of the cache, or obtained now; `fresh` forgets what the cache has."""
    files = _Files.of(network, prepared, method)
    if fresh or not files.whole():
        for file in (files.model, files.job, files.verdict):
            file.unlink(missing_ok=True)
    try:
        facts = _kept(files.job, lambda: _quantize(method, prepared, files.model, limits, watch))
    except RuntimeError as problem:  # no environment: nothing to keep, the next run may have it
        return Result(network.name, method.name, method.precision, error=str(problem))
    verdict = {} if facts["error"] else _kept(files.verdict, lambda: _judge(network, prepared, files.model))
    merged = {**facts, **verdict, "error": facts["error"] or verdict.get("error")}
    merged["scores"] = tuple(merged.get("scores", ()))
    return Result(network.name, method.name, method.precision, **merged)


def _quantize(
    method: Method, prepared: Prepared, model: Path, limits: Limits, watch: Callable[[float], None] | None
) -> dict[str, Any]:
    model.parent.mkdir(parents=True, exist_ok=True)
    draft = model.with_suffix(".draft.onnx")
    with tempfile.TemporaryDirectory() as place:
        own = Path(place) / MODEL
        shutil.copy(prepared.model, own)  # some peers write into the file that they are given
        command = method.command(own, prepared.calibration, draft)
        outcome = job.run(command, seconds=limits.seconds, memory=limits.memory, watch=watch)
    error = outcome.error or (None if draft.exists() else "it ended without a model")
    if error is None:
        draft.rename(model)
    draft.unlink(missing_ok=True)
    return {**asdict(outcome), "error": error}


def _judge(network: Network, prepared: Prepared, model: Path) -> dict[str, Any]:
    try:
        found = judge(network, prepared, model)
        quantized = coverage(model)
    except Exception as error:  # a model that the judge cannot run is that quantizer's result
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = (lines[-1] if lines else type(error).__name__).replace(f"{root()}/", "")
        return {"error": f"judge: {told}"[:300]}
    return {**found, "bits": quantized.bits, "activations": quantized.activations, "bytes": model.stat().st_size}


def _kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    made = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as stream:
        stream.write(json.dumps(made, indent=2).encode())
    return made
