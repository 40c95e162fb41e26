"""The NPU backend: claims against the compiler, the emulator against Arm's model, mutations, networks, times."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from architectures import ARCHITECTURES, Architecture
from deepseek_backend_npu.compiler import build, variations
from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.lowering import lower
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.tosa.serialize import serialize
from deepseek_backend_npu.verification.checking import check
from deepseek_backend_npu.verification.mutation import KINDS, Judge, Judgement, mutations
from deepseek_backend_npu.verification.networks import residual_network
from deepseek_backend_npu.verification.sampling import OPS, sample
from deepseek_core import CompileOptions, QuantizedModel, Target, discover
from deepseek_core.ir import with_input_shapes
from deepseek_core.pipeline import float_model, quantize
from efficientnet_lite0.model import export
from efficientnet_lite0.photos import Photo, foolbox_photos, samples, split
from harness import Figure, Options, main

DEVICE = "ethos-u55-128"
EMULATED = [name for name, device in DEVICES.items() if device.emulated]
CALIBRATION = 10
_DETAILS: dict[str, object] = {}


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` draws fewer units and runs the smallest networks."""
    figures = [*_claims(4 if options.quick else 140), *_mutations(20 if options.quick else 1000)]
    for name, model, feeds in _networks(quick=options.quick):
        figures += _network(name, model, feeds)
    return figures


# Claims


def _claims(draws: int) -> list[Figure]:
    """Units drawn for every variant in turn."""
    counts: Counter[str] = Counter()
    disagreements = []
    for number in range(draws):
        device = EMULATED[number % len(EMULATED)]
        for op in OPS:
            drawn = sample(op, number)
            if drawn is None:
                continue
            verdict = check(drawn, Target("npu", device))
            counts["claimed" if verdict.claimed else "refused"] += 1
            if not verdict.agrees:
                disagreements.append(f"{device} {op}{drawn.text}: {verdict}")
    _DETAILS["claims"] = {"units": dict(counts), "disagreements": disagreements}
    note = f"{counts['claimed']} claimed, {counts['refused']} refused, of {len(OPS)} ops on {len(EMULATED)} variants"
    return [Figure("units whose claim, compilation or numbers disagree", len(disagreements), "", "==", 0, note)]


# Mutations


def _mutations(most: int) -> list[Figure]:
    total: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    proofs: Counter[str] = Counter()
    missed: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for seed, device in enumerate(EMULATED):
        for kind, place, judgement in _mutated(device, seed, most):
            total[kind] += 1
            noticed[kind] += judgement.how is not None
            if judgement.equivalent is not None:
                proofs[f"{kind}: {judgement.equivalent}"] += 1
            if judgement.missed:
                missed[kind].append(f"{device}: {place}")
    _DETAILS["mutations"] = {"made": dict(total), "proven to be none": dict(proofs), "missed": missed}
    asked = [kind for kind in KINDS if kind != "register"]
    found = 100 * sum(noticed[kind] for kind in asked) / max(sum(total[kind] for kind in asked), 1)
    made = ", ".join(f"{noticed[kind]}/{total[kind]} {kind}" for kind in KINDS)
    unexplained = sum(map(len, missed.values()))
    return [
        Figure("mutations noticed", found, "%", ">=", 95.0, made),
        Figure("mutations neither noticed nor proven to be none", unexplained, "", "==", 0, f"of {total.total()}"),
    ]


def _mutated(device: str, seed: int, most: int) -> Iterator[tuple[str, str, Judgement]]:
    container = _compiled(residual_network(seed), device, every_tensor=True)
    judge, rng = Judge(container, seed), np.random.default_rng(seed)
    for kind in KINDS:
        for mutation, _ in zip(mutations(container, kind, rng), range(most), strict=False):
            yield kind, mutation.place, judge.judge(mutation)


# Networks


def _networks(*, quick: bool) -> Iterator[tuple[str, QuantizedModel, list[dict[str, NDArray[Any]]]]]:
    with tempfile.TemporaryDirectory() as folder:
        chosen, judged = split(foolbox_photos(), CALIBRATION)
        source = float_model(export(Path(folder) / "efficientnet.onnx"))
        for size in (96,) if quick else (96, 160, 224):
            float_ = with_input_shapes(source, {"image": (1, 3, size, size)})
            feeds = list(_crops(judged, "image", size))
            yield f"EfficientNet-Lite0-{size}", _quantized(float_, list(_crops(chosen, "image", size))), feeds
        for architecture in ARCHITECTURES[:2]:
            path = Architecture(architecture.name, architecture.build, architecture.shape).export(
                Path(folder) / f"{architecture.name}.onnx"
            )
            for size in (96,) if quick else (96, 224):
                float_ = with_input_shapes(float_model(path), {"x": (1, 3, size, size)})
                feeds = list(_crops(judged, "x", size))
                yield f"{architecture.name}-{size}", _quantized(float_, list(_crops(chosen, "x", size))), feeds


def _crops(photos: list[Photo], name: str, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    for feeds in samples(photos):
        (image,) = feeds.values()
        start = (image.shape[2] - size) // 2
        yield {name: np.ascontiguousarray(image[:1, :, start : start + size, start : start + size])}


def _quantized(model: QuantizedModel, feeds: list[dict[str, NDArray[Any]]]) -> QuantizedModel:
    return quantize(model, feeds, targets=[f"npu:{DEVICE}", "cpu"])


def _network(name: str, model: QuantizedModel, feeds: list[dict[str, NDArray[Any]]]) -> list[Figure]:
    shown = _compiled(model, DEVICE, every_tensor=True)
    layers, different = _layers(shown, feeds[0])
    plain = _compiled(model, DEVICE)
    executable = NpuExecutable(plain)
    executable.run(feeds[0])  # decodes the weights
    seconds = min(_timed(lambda: executable.run(feeds[0])) for _ in range(3))
    compiling = min(_timed(lambda: _compiled(model, DEVICE)) for _ in range(2))
    lsb, exact = _against_cpu(model, executable, feeds)
    default, chosen = _options(model)
    gain = 100 * (1 - chosen[0] / default[0])
    note = f"{default[0]} → {chosen[0]} cycles, {default[1]} → {chosen[1]} bytes of SRAM, by {chosen[2]}"
    return [
        Figure(f"{name}: layers that differ from Arm's model", different, "", "==", 0, f"of {layers}"),
        Figure(f"{name}: units on the NPU", 100 * _coverage(model), "%", note="share of multiply-accumulates"),
        Figure(f"{name}: largest difference from the CPU backend", lsb, "LSB", note=f"{exact:.1%} of outputs equal"),
        Figure(f"{name}: fewer cycles than Vela's defaults", gain, "%", ">=", 0.0, note),
        Figure(f"{name}: compile", compiling, "s", note="one set of options"),
        Figure(f"{name}: emulate", seconds, "s", note="processor time, weights decoded before"),
    ]


def _layers(container: Container, feeds: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    emulated = NpuExecutable(container).run(feeds)
    expected = NpuExecutable(replace(container, tier="reference")).run(feeds)
    return len(expected), sum(not np.array_equal(emulated[key], array) for key, array in expected.items())


def _against_cpu(
    model: QuantizedModel, executable: NpuExecutable, feeds: list[dict[str, NDArray[Any]]]
) -> tuple[float, float]:
    """Largest distance of outputs in steps of their scale, and the share that is equal."""
    cpu, target = discover().resolve("cpu")
    other = cpu.load(cpu.compile(model, target, CompileOptions(threads=1, optimize=0)))
    (name,) = (info.name for info in model.outputs)
    steps = []
    for feed in feeds:
        one, two = executable.run(feed)[name], other.run(feed)[name]
        scale = float(np.min(np.diff(np.unique(two)))) if len(np.unique(two)) > 1 else 1.0
        steps.append(np.rint(np.abs(one - two) / scale))
    distances = np.concatenate([step.reshape(-1) for step in steps])
    return float(distances.max()), float((distances == 0).mean())


def _coverage(model: QuantizedModel) -> float:
    """Share of units with weights that the backend claims; they are the multiply-accumulates."""
    backend, target = discover().resolve(f"npu:{DEVICE}")
    refused: list[str] = []
    backend.claim(model, target, lambda unit, _: refused.append(unit.name))
    heavy = [unit.name for unit in model.units() if unit.op in ("Conv", "Gemm", "MatMul", "ConvTranspose")]
    return 1 - sum(name in refused for name in heavy) / max(len(heavy), 1)


def _options(model: QuantizedModel) -> tuple[tuple[int, int], tuple[int, int, str]]:
    """Cycles and SRAM of Vela's defaults and of the best choice."""
    tosa, device = serialize(lower(model).graph), DEVICES[DEVICE]
    found = variations(tosa, device, Settings.read({}, device), CompileOptions())
    default = found[0][0].estimate
    compiled, chosen = min(found, key=lambda entry: (entry[0].estimate.cycles, entry[0].estimate.sram))
    best = compiled.estimate
    return (default.cycles, default.sram), (best.cycles, best.sram, chosen.name)


def _compiled(model: QuantizedModel, device: str, *, every_tensor: bool = False) -> Container:
    settings = Settings.read({}, DEVICES[device])
    lowered = lower(model, every_tensor=every_tensor)
    return build(lowered, device, DEVICES[device], settings, CompileOptions(optimize=0))[0]


def _timed(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main(
        (__doc__ or "").splitlines()[0],
        measure,
        ("ethos-u-vela", "tosa-tools", "numpy"),
        details=lambda: _DETAILS,
    )
