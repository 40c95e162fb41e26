"""The ARM backend: instructions per inference, exactness, sizes of images and memory, time to build them."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from architectures import ARCHITECTURES
from arm_counting import Counter
from arm_cycles import Blocks, find_mca
from arm_peers.compare import LOOPS, Comparison, Network
from arm_peers.runtimes import RUNTIMES
from deepseek_backend_arm.emulator import find_qemu
from deepseek_backend_arm.toolchain import find_toolchain
from deepseek_core import Artifact, CalibratorSpec, CompileOptions, Executable, QuantizedModel, discover
from deepseek_core.cross import cross_compile
from deepseek_core.ir import with_input_shapes
from deepseek_core.pipeline import float_model, quantize
from efficientnet_lite0.model import export
from efficientnet_lite0.photos import foolbox_photos, load_folder, samples, split
from harness import Figure, Options, main
from mobilenet_v3 import MOBILENET_V3
from quantization.networks import prepared
from quantization.networks.base import load_arrays
from quantization.networks.minilm import MiniLM

Feeds = Mapping[str, NDArray[Any]]
CPUS = {
    "cortex-a72": "smull",
    "cortex-a53": "smull",
    "cortex-a76": "sdot",
    "neoverse-n1": "sdot",
    "max": "smmla",
}
"""Emulated CPU → what multiplies on it."""
REAL = ("MiniLM-L6",)
"""Sums of real numbers decide codes here, and an early code moves all that follow; elsewhere nothing may differ."""
TWINS, SHOWN = ("cortex-a53", "neoverse-n1"), ("ResNet-18",)
"""On these ONNX Runtime executes what it does on Cortex-A72 and A76: shown on one network."""
TARGETS = {("ResNet-18", "cortex-a72"): 430.0, ("ResNet-18", "cortex-a76"): 165.0}
PHOTOS, CALIBRATION, TOKENS = 100, 10, 128
CORE, CORES, CLOCK, LEAST = "cortex-a72", 4, 1.5e9, 17.8
"""What frames per second are predicted for, and how many there must be of ResNet-18."""
PHOTOGRAPHS = "photographs"
PARTS = ("ResNet-18", "MobileNetV2", "MobileNetV3-Large", "EfficientNet-Lite0", "MiniLM-L6", PHOTOGRAPHS)
_DETAILS: dict[str, object] = {}


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` has one network, no peers and no photographs. `--only` names what is measured."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counter = Counter(str(find_qemu()), folder)
        only = ("MobileNetV2",) if options.quick else options.extra.only
        for network in _networks(folder, only):
            figures += _network(network, counter, folder, () if options.quick else options.extra.peers)
        if PHOTOGRAPHS in only:
            figures += _photographs(options, folder)
    return figures


def _networks(folder: Path, only: Sequence[str]) -> Iterator[Network]:
    """Random weights where only speed and exactness are judged."""
    rng = np.random.default_rng(0)
    for architecture in (*ARCHITECTURES[:2], MOBILENET_V3):
        feeds = [{"x": rng.standard_normal(architecture.shape).astype(np.float32)} for _ in range(3)]
        if architecture.name in only:
            path = architecture.export(folder / f"{architecture.name}.onnx")
            yield _quantized(architecture.name, float_model(path), feeds)
    if "EfficientNet-Lite0" in only:
        source = with_input_shapes(float_model(export(folder / "lite.onnx")), {"image": (1, 3, 224, 224)})
        yield _quantized("EfficientNet-Lite0", source, list(samples(foolbox_photos()))[:3])
    if "MiniLM-L6" in only:
        encoder = prepared(MiniLM())
        shapes = dict.fromkeys(("input_ids", "attention_mask"), (1, TOKENS))
        source = with_input_shapes(float_model(encoder.model), shapes)
        texts = [_of_length(load_arrays(file)) for file in sorted(encoder.calibration.glob("*.npz"))]
        yield _quantized("MiniLM-L6", source, [*texts, _of_length(next(encoder.feeds()))])


def _of_length(text: Feeds) -> Feeds:
    """A text cut to `TOKENS` tokens, or padded: zeros in the ids are the padding, and in the mask not looked at."""
    missing = max(0, TOKENS - next(iter(text.values())).shape[1])
    return {name: np.pad(row[:, :TOKENS], ((0, 0), (0, missing))) for name, row in text.items()}


def _quantized(title: str, source: QuantizedModel, feeds: Sequence[Feeds]) -> Network:
    """Calibrated on all feeds but the last, which is the one that is run."""
    *some, last = feeds
    model = quantize(source, some, targets=["arm:arm64"], calibrator=CalibratorSpec("minmax"))
    return Network(title, {"int8": model, "fp32": source}, last)


def _network(network: Network, counter: Counter, folder: Path, peers: Sequence[str]) -> list[Figure]:
    title, model = network.title, network.models["int8"]
    start = time.monotonic()
    built = cross_compile(model, "arm64", registry=discover())
    seconds = time.monotonic() - start
    image = folder / "image"
    image.write_bytes(built.payload)
    image.chmod(0o755)
    own = {cpu: counter.of_one_run(cpu, image) / 1e6 for cpu in CPUS}
    figures = [_count(title, cpu, millions) for cpu, millions in own.items()]
    comparison = Comparison(network)
    if peers:
        cpus = [cpu for cpu in CPUS if cpu not in TWINS or title in SHOWN]
        comparison.run(cpus, counter, folder / title, peers)
        figures += comparison.figures(own)
    if find_mca() is not None:
        figures.append(_predicted(title, image, folder))
    report = built.report
    arena, bound = int(str(report["arena_bytes"])), int(str(report["arena_lower_bound"]))
    overhead = len(built.payload) - int(str(report["constant_bytes"]))
    _DETAILS[title] = {**report, "instructions": own, **comparison.details()}
    different, cosine = _different(model, built, network.feeds)
    return [
        *figures,
        _agreement(title, different, cosine),
        Figure(f"{title}: arena above the liveness bound", 100 * (arena / bound - 1), "%", note=f"{arena:,} bytes"),
        Figure(f"{title}: image beside its constants", overhead / 1024, "KiB", "<=", 300, find_toolchain().name),
        Figure(f"{title}: build", seconds, "s", "<=", 10, "the runtime was built before or not"),
    ]


def _count(title: str, cpu: str, millions: float) -> Figure:
    note = f"one inference, one thread, {CPUS[cpu]}, counted under QEMU"
    return Figure(f"{title}: instructions on {cpu}", millions, "M", "<=", TARGETS.get((title, cpu)), note)


def _predicted(title: str, image: Path, folder: Path) -> Figure:
    """No measurement: an estimate, as its note says."""
    found = Blocks(str(find_qemu()), folder).estimate(CORE, image, CORES)
    least = LEAST if title == "ResNet-18" else None
    name = f"{title}: predicted frames a second, {CORES} x {CORE} at {CLOCK / 1e9} GHz"
    return Figure(name, CLOCK / found.threads[0], "", ">=", least, f"estimate: {found.method}")


def _agreement(title: str, different: float, cosine: float) -> Figure:
    if title in REAL:
        return Figure(f"{title}: cosine with the reference's outputs", cosine, "", ">=", 0.99)
    return Figure(f"{title}: largest difference from the reference", 100 * different, "%", "<=", 0.0)


def _different(model: QuantizedModel, image: Artifact, feeds: Feeds) -> tuple[float, float]:
    """Largest difference from the reference backend's outputs, against the largest output; and their cosine."""
    reference, target = discover().resolve("reference")
    expected = reference.load(reference.compile(model, target, CompileOptions())).run(feeds)
    executable = discover().backend("arm").load(image)
    got = executable.run(feeds)
    executable.close()
    ours, theirs = (np.concatenate([side[name].ravel() for name in expected]) for side in (got, expected))
    cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max()), float(cosine)


def _photographs(options: Options, folder: Path) -> list[Figure]:
    """EfficientNet-Lite0 on photographs: the first class of the CPU backend, of kernels that round otherwise too."""
    chosen, rest = split(foolbox_photos(), CALIBRATION)
    judged = load_folder(options.photos)[:PHOTOS] if (options.photos / "labels.csv").exists() else rest
    source = float_model(export(folder / "efficientnet.onnx"))
    model = quantize(
        with_input_shapes(source, {"image": (1, 3, 224, 224)}), list(samples(chosen)), targets=["arm:arm64", "cpu"]
    )
    own = _opened(model, "arm:arm64")
    others = {kernels: _opened(model, "cpu", kernels=kernels) for kernels in ("exact", "int8", "float32")}
    same, equal, total = dict.fromkeys(others, 0), dict.fromkeys(others, 0), 0
    for feeds in samples(judged):
        (one,) = own.run(feeds).values()
        total += one.size
        for kernels, side in others.items():
            (other,) = side.run(feeds).values()
            same[kernels] += int(one.argmax() == other.argmax())
            equal[kernels] += int(np.count_nonzero(one == other))
    return [
        Figure(
            f"EfficientNet-Lite0: photographs with the class of the CPU backend's {kernels} kernels",
            same[kernels],
            "",
            "==",
            len(judged) if kernels == "exact" else None,
            f"of {len(judged)}; {equal[kernels] / total:.1%} of the outputs are equal",
        )
        for kernels in others
    ]


def _opened(model: QuantizedModel, name: str, **extra: str) -> Executable:
    backend, target = discover().resolve(name)
    return backend.load(backend.compile(model, target, CompileOptions(optimize=0, extra=extra)))


def _configure(parser: argparse.ArgumentParser) -> None:
    names = [*(runtime.key for runtime in RUNTIMES), LOOPS]
    parser.add_argument("--peers", nargs="*", choices=names, default=names, help="which to count; all by default")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure; all by default")


if __name__ == "__main__":
    packages = ("deepseek-backend-arm", "deepseek-core", "numpy")
    main(__doc__ or "", measure, packages, _configure, details=lambda: _DETAILS)
