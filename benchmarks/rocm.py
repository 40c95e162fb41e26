"""The ROCm backend: code objects of every kernel, emulated networks, inner loops beside IREE's."""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepseek_backend_rocm.assembly import Listing
from deepseek_backend_rocm.compiler import build_image, plan
from deepseek_backend_rocm.container import encode
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.plan.steps import Buffer, Memory, Step
from deepseek_backend_rocm.program import Image, Kernel
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_backend_rocm.selection.choose import Chooser
from deepseek_backend_rocm.selection.model import INT8_PRODUCTS, executed, issue_of, matrix_count
from deepseek_backend_rocm.targets import GPUS, Gpu
from deepseek_backend_rocm.toolchain import TRITON
from deepseek_core import CompileOptions, QuantizedModel, Target
from deepseek_core.reference import evaluate
from harness import Figure, Options, console, main
from rocm_attention import fused_and_apart
from rocm_each import alone
from rocm_iree import VERSION, peer
from rocm_networks import NETWORKS, Case

EMULATED = ("gfx942", "gfx1100", "gfx90a")
PEERED = ("gfx942", "gfx1100")
"""Architectures whose inner loops are set beside IREE's: one with MFMA, one with WMMA."""
BATCHES = (1, 32)
EACH = "gfx942"
"""Where every unit of EfficientNet-Lite0 is compared by itself too."""
_DETAILS: dict[str, Any] = {}


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` takes the smallest network and one architecture."""
    found = []
    for figure in _figures(options):
        console().print(f"{figure.name}: {figure.value:.4g} {figure.unit} {figure.note}", highlight=False)
        found.append(figure)
    return found


def _figures(options: Options) -> Iterator[Figure]:
    quick = options.quick
    names = ("efficientnet96",) if quick else tuple(NETWORKS)
    for name in names:
        case = NETWORKS[name]()
        yield from _compiled(case, ("gfx942",) if quick else tuple(GPUS))
        yield from _emulated(case, EMULATED[:1] if quick else EMULATED)
        yield from _one_by_one(case) if case.exact else _attention(case)
        if name == "efficientnet" and not quick:
            yield from _beside_iree(case)


def _compiled(case: Case, architectures: Sequence[str]) -> Iterator[Figure]:
    """What a network's kernels are made of on each architecture."""
    images = {name: image_of(case.model, name) for name in architectures}
    rows = {(name, kernel.name): kernel for name, image in images.items() for kernel in _kernels(image, name)}
    products = {key: kernel for key, kernel in rows.items() if kernel.name.split("[")[0] in INT8_PRODUCTS}
    without = [key for key, kernel in products.items() if not _has_matrix(kernel, GPUS[key[0]])]
    spilled = [key for key, kernel in rows.items() if kernel.facts["spills"] or kernel.facts["scratch"]]
    note = f"{len(products)} of them multiply int8 matrices, on {len(architectures)} architectures"
    yield Figure(f"{case.name}: code objects", len(rows), note=note)
    yield Figure(f"{case.name}: products without a matrix instruction", len(without), "", "==", 0)
    yield Figure(f"{case.name}: chosen kernels that spill vector registers", len(spilled), "", "==", 0)
    steps = plan(case.model, Target("rocm", architectures[0]), CompileOptions())
    macs, others = sum(step.macs for step in steps.steps), sum(map(_window_macs, steps.steps))
    share = 100 * macs / (macs + others)
    yield Figure(f"{case.name}: multiply-accumulates in matrix instructions", share, "%", note=f"of {macs + others:,}")
    yield Figure(f"{case.name}: arena over its lower bound", steps.arena / steps.bound, "", "<=", 1.15)
    _DETAILS.setdefault("kernels", {})[case.name] = {
        name: [{"kernel": kernel.name, **_facts(kernel, GPUS[name])} for kernel in _kernels(image, name)]
        for name, image in images.items()
    }


def _emulated(case: Case, architectures: Sequence[str]) -> Iterator[Figure]:
    """A network's outputs from the emulated machine code, against the reference's."""
    expected = [evaluate(case.model, feeds) for feeds in case.judged]
    for name in architectures:
        executable = RocmExecutable(image_of(case.model, name), EmulatedDevice(name))
        different, largest = 0, 0.0
        for feeds, wanted in zip(case.judged, expected, strict=True):
            got = executable.run(feeds)
            for key, array in wanted.items():
                different += int(np.count_nonzero(got[key] != array))
                largest = max(largest, float(np.abs(got[key].astype(np.float64) - array).max()))
        executable.close()
        total = sum(array.size for wanted in expected for array in wanted.values())
        note = f"of {total}, {len(expected)} inputs; the largest by {largest:.3g}. {case.note}"
        target = 0 if case.exact else None
        yield Figure(f"{case.name}: outputs that differ, emulated {name}", different, "", "==", target, note)


def _one_by_one(case: Case) -> Iterator[Figure]:
    """Each unit of a network alone, fed with what the reference computes before it."""
    rows = list(alone(case, EACH))
    _DETAILS.setdefault("units", {})[case.name] = rows
    different = sum(bool(row["different"]) for row in rows)
    note = f"of {len(rows)} units, {sum(row['elements'] for row in rows):,} elements, each unit alone, emulated {EACH}"
    yield Figure(f"{case.name}: units that differ", different, "", "==", 0, note)


def _attention(case: Case) -> Iterator[Figure]:
    """What fusing attention saves."""
    for name in PEERED:
        found = fused_and_apart(case, name)
        _DETAILS.setdefault("attention", {}).setdefault(case.name, {})[name] = found
        fused, apart = found["fused"], found["apart"]
        note = (
            f"{apart['launches']} where {found['kernels']} attentions are launches of their own; analytic "
            f"{1e6 * fused['seconds']:.0f} µs for {1e6 * apart['seconds']:.0f}, matrix instructions "
            f"{100 * found['dense']:.1f} % of the issue cycles of an attention"
        )
        text = f"{case.name}: launches, {name}"
        yield Figure(text, fused["launches"], "", "<", apart["launches"], note)


def _beside_iree(case: Case) -> Iterator[Figure]:
    """Share of matrix instructions in issue cycles, of the same products with a requantization behind them."""
    for name, batch in itertools.product(PEERED, BATCHES):
        rows = [_row(step, GPUS[name]) for step in _distinct(case.model, name, batch)]
        judged = [row for row in rows if row["iree"] is not None]
        better = sum(row["own"] >= row["iree"] for row in judged)
        loops = sum(row["of"] == "loop" for row in judged)
        _DETAILS.setdefault("iree", {})[f"{name}, batch {batch}"] = rows
        note = (
            f"of {len(judged)} shapes of 1 × 1 convolutions; {loops} by their inner loops, the others, which IREE "
            f"{VERSION} unrolls, by whole kernels; it failed on {len(rows) - len(judged)}"
        )
        text = f"products as dense in matrix instructions as IREE's or denser, {name}, batch {batch}"
        yield Figure(text, better, "", ">", len(judged) / 2, note)


def _row(step: Step, gpu: Gpu) -> dict[str, Any]:
    """One product: by the inner loop where IREE's has matrix instructions, by the whole kernel where it has none."""
    m, n, k = step.integer("rows"), step.integer("n"), step.integer("c")
    (step, built), other = Chooser(gpu).choose(step).launches[0], peer(m, n, k, gpu.name)
    in_loop = other is not None and issue_of(other.inner, gpu).matrix > 0
    own = issue_of(built.listing.inner, gpu) if in_loop else executed(step, built, gpu)
    theirs = None if other is None else issue_of(other.inner if in_loop else other.whole, gpu).efficiency
    row = {"shape": [m, n, k], "own": own.efficiency, "iree": theirs, "of": "loop" if in_loop else "kernel"}
    return {**row, "own_kernel": built.variant.name}


@functools.lru_cache(16)
def image_of(model: QuantizedModel, architecture: str) -> Image:
    """A network for one architecture."""
    return build_image(model, Target("rocm", architecture), CompileOptions())


def _kernels(image: Image, architecture: str) -> tuple[Kernel, ...]:
    return image.programs[architecture].kernels


def _has_matrix(kernel: Kernel, gpu: Gpu) -> bool:
    return matrix_count(Listing(**kernel.facts), gpu) > 0


def _facts(kernel: Kernel, gpu: Gpu) -> dict[str, Any]:
    facts = {key: kernel.facts[key] for key in ("vector", "accumulator", "scalar", "spills", "occupancy")}
    listing = Listing(**kernel.facts)
    return {**facts, "shared": kernel.shared, "matrix": matrix_count(listing, gpu), "dense": _efficiency(listing, gpu)}


def _efficiency(listing: Listing, gpu: Gpu) -> float:
    """Of the inner loop; of the whole kernel where there is none."""
    return issue_of(listing.inner or listing.whole, gpu).efficiency


def _window_macs(step: Step) -> int:
    """Multiply-accumulates of a depthwise convolution, which no matrix instruction makes."""
    if step.kernel != "depthwise":
        return 0
    return step.integer("rows") * step.integer("c") * step.integer("kh") * step.integer("kw")


def _distinct(model: QuantizedModel, architecture: str, batch: int) -> list[Step]:
    """1 × 1 convolutions of different sizes, for so many images, and without an addition behind them."""
    steps = plan(model, Target("rocm", architecture), CompileOptions()).steps
    points = [step for step in steps if step.kernel == "conv" and step.constants["MODE"] == 0]
    distinct = {(step.integer("rows"), step.integer("n"), step.integer("c")): step for step in points}.values()
    return [_alone(step, batch) for step in distinct]


def _alone(step: Step, batch: int) -> Step:
    """A step for `batch` times as many rows that writes codes, as IREE's does."""
    memory: dict[str, Memory] = dict(step.memory)
    for name in ("x", "y"):
        memory[name] = Buffer(step.memory[name].bytes * batch)
    values = {**step.values, "rows": batch * step.integer("rows")}
    constants = {**step.constants, "ADD": False, "REAL": False}
    return replace(step, memory=memory, values=values, constants=constants, types={"y": "i8"}, macs=step.macs * batch)


def write_network(folder: Path) -> None:
    """EfficientNet-Lite0 for an NVIDIA GPU, with inputs and the reference's outputs: what `rocm_cuda.py` runs."""
    case = NETWORKS["efficientnet"]()
    options = CompileOptions(extra={"architectures": "sm_90"})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.bin").write_bytes(encode(build_image(case.model, Target("rocm", "gfx942"), options)))
    for number, feeds in enumerate(case.judged):
        arrays: dict[str, Any] = {f"in:{name}": array for name, array in feeds.items()}
        arrays |= {f"out:{name}": array for name, array in evaluate(case.model, feeds).items()}
        np.savez(folder / f"{number}.npz", **arrays)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", type=Path, metavar="FOLDER", help="only write what rocm_cuda.py --network runs")


def _run(options: Options) -> list[Figure]:
    if options.extra.network is not None:
        write_network(options.extra.network)
        return []
    return measure(options)


if __name__ == "__main__":
    assert __doc__ is not None
    packages = ("deepseek-backend-rocm", "triton", "numpy")
    main(__doc__, _run, packages, _configure, lambda: {**_DETAILS, "triton": TRITON, "tier": "emulated"})
