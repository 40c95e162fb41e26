"""TensorRT on a GPU against PyTorch: latency, throughput, numerics, conformance and calibration, as JSON.

Stages run in any order and in processes of their own; each leaves records in `--work`, and `report` gathers them:

    torch        PyTorch: fp32 eager, fp16 through torch.compile
    prepare      export and quantize every network (CPU only)
    build        TensorRT fp16 and our INT8 in the `--kinds` given: build, time, compare with PyTorch's fp32
    conformance  the conformance kit on the device, until `--seconds` are over
    photos       EfficientNet-Lite0 in INT8 on photographs, against the reference backend
    thresholds   our KL thresholds against TensorRT 8.6's entropy calibration
    report       all records, the device and the versions, as `--json`

Latency is the median of device time, inputs and outputs on the device, CUDA graphs for torch.compile and TensorRT.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Backend, CalibratorSpec, CompileOptions, QuantizedModel, Registry, discover
from deepseek_core.package import Package

TARGET = "tensorrt:sm_90"
ROUNDS = 200
KEYS = (
    ("bert-base", 8),
    ("resnet50", 8),
    ("gpt2-step", 1),
    ("bert-base", 1),
    ("gpt2-prefill", 1),
    ("resnet50", 1),
    ("bert-base", 64),
    ("resnet50", 64),
)
"""What is measured, the most telling first."""
CONFORMANCE = (
    "contract/run/*",
    "contract/device/*",
    "numerics/Conv/*/mixed",
    "numerics/Gemm/*/mixed",
    "numerics/MatMul/*/mixed",
    "numerics/*/mixed",
    "*",
)
"""Cases by their ids, the most telling first."""
FIGURES = {
    "BERT-base latency, batch 8: fp32 / INT8": (("bert-base", 8), 2.3),
    "BERT-base latency, batch 1: fp32 / INT8": (("bert-base", 1), 2.3),
    "GPT-2 latency, one step: fp32 / INT8": (("gpt2-step", 1), 3.4),
    "GPT-2 latency, prefill of 128: fp32 / INT8": (("gpt2-prefill", 1), 3.4),
    "BERT-base throughput, batch 64: INT8 / fp32": (("bert-base", 64), 3.2),
}
AHEAD = (("bert-base", 8), ("bert-base", 64), ("resnet50", 8), ("resnet50", 64))
"""Where INT8 is to be ahead of TensorRT's own fp16."""


class Records:
    """One JSON object a line, appended as it is made."""

    def __init__(self, work: Path) -> None:
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self._path = work / "records.jsonl"

    def add(self, kind: str, **fields: object) -> None:
        record = {"kind": kind, "at": datetime.now(UTC).isoformat(timespec="seconds"), **fields}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{datetime.now(UTC):%H:%M:%S} {json.dumps(record)[:400]}", flush=True)

    def all(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]


def registry() -> Registry:
    """The installed backends; from a checkout that is on the path only, the three that are needed."""
    found = discover()
    if {"tensorrt", "cpu", "reference"} <= set(found.backends):
        return found
    import deepseek_backend_cpu.plugin
    import deepseek_backend_tensorrt.plugin
    import deepseek_core.reference.plugin

    plugins = (deepseek_backend_tensorrt.plugin, deepseek_backend_cpu.plugin, deepseek_core.reference.plugin)
    return Registry([Backend(plugin) for plugin in plugins])


def guarded(records: Records, stage: str, key: object, work: Callable[[], None]) -> None:
    """One failure is a record, and the next piece goes on."""
    try:
        work()
    except Exception as error:
        records.add("failure", stage=stage, key=str(key), error=f"{type(error).__name__}: {error}"[:2000])
        traceback.print_exc()


# PyTorch


def torch_stage(records: Records, options: argparse.Namespace) -> None:
    """Both baselines; the fp32 outputs are kept to compare with."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for key in _keys(options):
        guarded(records, "torch", key, lambda key=key: _torch_one(records, options, key))  # type: ignore[misc]


def _torch_one(records: Records, options: argparse.Namespace, key: tuple[str, int]) -> None:
    import torch

    network, batch = _network(key[0]), key[1]
    module = network.module(small=options.small).cuda()
    arguments = [tensor.cuda() for tensor in _arguments(network, batch, 0, options)]
    with torch.inference_mode():
        outputs = module(*arguments)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        np.savez(_file(records, key, "fp32.npz"), *(output.float().cpu().numpy() for output in outputs))
        taken = _torch_seconds(module, arguments)
        records.add("latency", key=key, engine="torch fp32 eager", seconds=taken)
        half, halves = module.half(), [a.half() if a.is_floating_point() else a for a in arguments]
        records.add("latency", key=key, engine="torch fp16 eager", seconds=_torch_seconds(half, halves))
        torch._dynamo.reset()
        started = time.perf_counter()
        compiled = torch.compile(half, mode="reduce-overhead")
        compiled(*halves)  # type: ignore[no-untyped-call]
        preparation = time.perf_counter() - started
        taken = _torch_seconds(compiled, halves)
        records.add("latency", key=key, engine="torch.compile fp16", seconds=taken, preparation=preparation)


def _torch_seconds(module: Any, arguments: Sequence[Any]) -> float:
    import torch

    for _ in range(20):
        module(*arguments)
    torch.cuda.synchronize()
    taken = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        module(*arguments)
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1000)
    return float(np.median(taken))


# Models


def prepare_stage(records: Records, options: argparse.Namespace) -> None:
    for key in _keys(options):
        guarded(records, "prepare", key, lambda key=key: _prepare_one(records, options, key))  # type: ignore[misc]


def _prepare_one(records: Records, options: argparse.Namespace, key: tuple[str, int]) -> None:
    from deepseek_core.pipeline import float_model, quantize
    from tensorrt_networks import export

    name, batch = key
    network, started = _network(name), time.perf_counter()
    path = _file(records, key, "onnx")
    export(network, network.module(small=options.small), path, _arguments(network, batch, 0, options))
    source = float_model(path)
    samples = [
        dict(zip(network.names, (t.numpy() for t in _arguments(network, batch, seed, options)), strict=True))
        for seed in (1, 2)
    ]
    quantized = quantize(source, samples, targets=[TARGET], registry=registry(), calibrator=CalibratorSpec("minmax"))
    for kind, model in (("float", source), ("int8", quantized)):
        temporary = _file(records, key, f"{kind}.tmp")
        Package(model).save(temporary)
        temporary.rename(_file(records, key, f"{kind}.ds"))
    units = [unit for unit in quantized.units() if unit.is_quantized]
    records.add("prepared", key=key, seconds=time.perf_counter() - started, quantized_units=len(units))


def _model(records: Records, key: tuple[str, int], kind: str, patience: float) -> QuantizedModel:
    path, deadline = _file(records, key, f"{kind}.ds"), time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > deadline:
            raise FileNotFoundError(path)
        time.sleep(2)
    return Package.open(path).model


# TensorRT


KINDS = {
    "int8": ("int8", "TensorRT INT8", "int8", 0),
    "weights": ("int8", "TensorRT INT8, products of activations in fp16", "weights", 0),
    "tuned": ("int8", "TensorRT, kernels as measured", "measured", 1),
    "fp16": ("float", "TensorRT fp16", "int8", 0),
}
"""Kind of engine → model, name in the report, `tensorrt.kernels`, and whether kernels are searched."""


def build_stage(records: Records, options: argparse.Namespace) -> None:
    for key in _keys(options):
        for kind in options.kinds.split(","):
            guarded(records, "build", (key, kind), lambda: _build_one(records, options, key, kind))  # noqa: B023


def _build_one(records: Records, options: argparse.Namespace, key: tuple[str, int], kind: str) -> None:
    stored, engine, kernels, optimize = KINDS[kind]
    backend, target = registry().resolve(TARGET)
    model = _model(records, key, stored, options.seconds)
    started = time.perf_counter()
    compilation = CompileOptions(optimize=optimize, extra={"precision": "float16", "kernels": kernels})
    artifact = backend.compile(model, target, compilation)
    built = time.perf_counter() - started
    _file(records, key, f"{kind}.layers.json").write_text(json.dumps(_layers(artifact.payload)))
    executable = backend.load(artifact)
    feeds = _feeds(key, options)
    outputs = executable.run(feeds)
    seconds = executable.time({n: a.shape for n, a in feeds.items()}, rounds=ROUNDS)  # type: ignore[attr-defined]
    executable.close()
    report = dict(artifact.report)
    records.add(
        "latency",
        key=key,
        engine=engine,
        seconds=float(np.median(seconds)),
        preparation=built,
        builder=report["builder"],
        engine_bytes=report["engine_bytes"],
        int8=report["int8"] if stored == "int8" else None,
        plain=report["kernels"],
        relative_error=_error(records, key, list(outputs.values())),
    )


def _layers(payload: bytes) -> object:
    from deepseek_backend_tensorrt.container import Container

    return list(Container.decode(payload).layers)


def _error(records: Records, key: tuple[str, int], outputs: Sequence[NDArray[Any]]) -> float | None:
    """Norm of the first output's difference from PyTorch's fp32, relative to its norm."""
    path = _file(records, key, "fp32.npz")
    if not path.exists():
        return None
    wanted = np.load(path)["arr_0"].astype(np.float64)
    return float(np.linalg.norm(outputs[0].astype(np.float64) - wanted) / np.linalg.norm(wanted))


# Conformance


def conformance_stage(records: Records, options: argparse.Namespace) -> None:
    """Cases in the order of `CONFORMANCE` that have not passed in `--work`, until the time is over."""
    from deepseek_core.conformance.context import Context
    from deepseek_core.conformance.suite import describe, known_failure, run_case, selected

    backend, target = registry().resolve(TARGET)
    context, deadline = Context(backend, target), time.monotonic() + options.seconds
    cases = {case.id: case for pattern in CONFORMANCE for case in selected(context, pattern)}
    passed = {record["id"] for record in records.all() if record["kind"] == "case" and record["status"] != "failed"}
    first, step = (int(number) for number in options.part.split("/"))
    for case in list(cases.values())[first - 1 :: step]:
        if case.id not in passed and time.monotonic() < deadline:
            result = run_case(case, context, known_failure(context.expectations, case))
            message = result.message[:300]
            records.add("case", id=case.id, status=str(result.status), message=message, seconds=result.seconds)
    records.add("conformance", **describe(context), cases=len(cases))


# Photographs


def photos_stage(records: Records, options: argparse.Namespace) -> None:
    """`photos.npz` beside the model: `judged` uint8 [n, 224, 224, 3], `labels`, `reference` logits, `float` logits."""
    backend, target = registry().resolve(TARGET)
    given = np.load(options.photos / "photos.npz")
    model = Package.open(options.photos / "efficientnet.int8.ds").model
    artifact = backend.compile(model, target, CompileOptions(optimize=0))
    executable = backend.load(artifact)
    images, size = given["judged"], model.inputs[0].shape
    assert size is not None
    batch = int(size[0] or 1)
    found = [executable.run({"image": _pixels(images[i : i + batch])})["logits"] for i in range(0, len(images), batch)]
    executable.close()
    logits = np.concatenate(found)
    wanted, real, labels = given["reference"], given["float"], given["labels"]
    records.add(
        "photos",
        photographs=len(images),
        top1=float(np.mean(logits.argmax(1) == labels)),
        top1_reference=float(np.mean(wanted.argmax(1) == labels[: len(wanted)])),
        top1_float=float(np.mean(real.argmax(1) == labels)),
        same_class_as_reference=float(np.mean(logits[: len(wanted)].argmax(1) == wanted.argmax(1))),
        same_class_as_float=float(np.mean(logits.argmax(1) == real.argmax(1))),
        largest_difference=float(np.abs(logits[: len(wanted)] - wanted).max()),
        relative_error=float(np.linalg.norm(logits[: len(wanted)] - wanted) / np.linalg.norm(wanted)),
        int8=artifact.report["int8"],
    )


def thresholds_stage(records: Records, options: argparse.Namespace) -> None:
    """Ranges of both calibrations on the same photographs: the ratio of ours to TensorRT's, tensor by tensor."""
    from deepseek_backend_tensorrt.child import shared
    from deepseek_backend_tensorrt.lowering import Lowering, lower
    from deepseek_core.ir import with_input_shapes
    from deepseek_core.pipeline import calibrate, float_model, recipe_for

    pixels = _pixels(np.load(options.photos / "photos.npz")["calibration"])
    model = with_input_shapes(float_model(options.photos / "efficientnet.onnx"), {"image": (1, 3, 224, 224)})
    batches = [np.ascontiguousarray(image[None]) for image in pixels]
    body = {"do": "calibrate", "product": "tensorrt", "feeds": ["image"]}
    theirs, _ = shared().ask(body, [lower(model, Lowering(17, typed=False)).data, *batches])
    recipe = recipe_for(model, [TARGET], registry=registry(), calibrator=CalibratorSpec("entropy"))
    found = calibrate(model, recipe, ({"image": batch} for batch in batches), registry=registry())
    rows = []
    for name, entry in recipe.activations.items():
        if name in theirs and name in found:
            low, high = found.range(name, entry)
            stats = found[name]
            largest = max(abs(float(stats.min)), abs(float(stats.max)))
            rows.append({"tensor": name, "ours": max(-low, high), "theirs": theirs[name], "largest": largest})
    ratios = np.array([row["ours"] / row["theirs"] for row in rows])
    records.add(
        "thresholds",
        tensors=len(rows),
        median_ratio=float(np.median(ratios)),
        within_5_percent=float(np.mean(np.abs(ratios - 1) <= 0.05)),
        within_25_percent=float(np.mean(np.abs(ratios - 1) <= 0.25)),
        rows=rows,
    )


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(((images.astype(np.float32) - 127.0) / 128.0).transpose(0, 3, 1, 2))


# Report


def report_stage(records: Records, options: argparse.Namespace) -> None:
    """Write `--json` and print the figures."""
    everything = records.all()
    latencies: dict[tuple[str, int], dict[str, float]] = {}
    for record in everything:
        if record["kind"] == "latency":
            latencies.setdefault((record["key"][0], record["key"][1]), {})[record["engine"]] = record["seconds"]
    figures = list(_figures(latencies))
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": _device(),
        "python": platform.python_version(),
        "versions": {name: found for name in ("torch", "triton", "onnx", "numpy") if (found := _version(name))},
        "figures": figures,
        "latency": [{"network": name, "batch": batch, **engines} for (name, batch), engines in latencies.items()],
        "records": everything,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    for figure in figures:
        verdict = "ok" if figure["holds"] else "MISSED"
        print(f"{figure['figure']}: {figure['value']:.2f} (goal >= {figure['goal']}) {verdict}")


def _figures(latencies: dict[tuple[str, int], dict[str, float]]) -> Iterator[dict[str, Any]]:
    def ours(engines: dict[str, float]) -> float | None:
        found = [seconds for engine, seconds in engines.items() if engine.startswith("TensorRT INT8")]
        return min(found) if found else None

    for figure, (key, goal) in FIGURES.items():
        engines = latencies.get(key, {})
        best = ours(engines)
        if best is not None and "torch fp32 eager" in engines:
            value = engines["torch fp32 eager"] / best
            yield {"figure": figure, "value": value, "goal": goal, "holds": value >= goal}
    for key in AHEAD:
        engines = latencies.get(key, {})
        best = ours(engines)
        if best is not None and "TensorRT fp16" in engines:
            value = engines["TensorRT fp16"] / best
            yield {
                "figure": f"{key[0]}, batch {key[1]}: TensorRT fp16 / INT8",
                "value": value,
                "goal": 1.0,
                "holds": value > 1,
            }


def _device() -> str:
    try:
        import torch

        return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "none"
    except ImportError:
        return "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# Common


def _network(name: str) -> Any:
    from tensorrt_networks import NETWORKS

    return next(network for network in NETWORKS if network.name == name)


def _arguments(network: Any, batch: int, seed: int, options: argparse.Namespace) -> tuple[Any, ...]:
    arguments = tuple(network.inputs(batch, seed))
    if options.small and network.name == "gpt2-step":
        return arguments[0], arguments[1][:2]
    return arguments


def _feeds(key: tuple[str, int], options: argparse.Namespace) -> dict[str, NDArray[Any]]:
    network = _network(key[0])
    return dict(zip(network.names, (t.numpy() for t in _arguments(network, key[1], 0, options)), strict=True))


def _keys(options: argparse.Namespace) -> list[tuple[str, int]]:
    wanted = options.only.split(",") if options.only else None
    return [key for key in KEYS if wanted is None or key[0] in wanted or f"{key[0]}@{key[1]}" in wanted]


def _file(records: Records, key: tuple[str, int], suffix: str) -> Path:
    return records.work / f"{key[0]}-{key[1]}.{suffix}"


STAGES: dict[str, Callable[[Records, argparse.Namespace], None]] = {
    "torch": torch_stage,
    "prepare": prepare_stage,
    "build": build_stage,
    "conformance": conformance_stage,
    "photos": photos_stage,
    "thresholds": thresholds_stage,
    "report": report_stage,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="TensorRT on a GPU against PyTorch")
    parser.add_argument("stages", nargs="+", choices=list(STAGES))
    parser.add_argument("--work", type=Path, default=Path("out/tensorrt_gpu"), help="where records and models are kept")
    parser.add_argument("--only", metavar="NAME[@BATCH],…", help="these networks")
    parser.add_argument(
        "--photos", type=Path, default=Path("out/tensorrt_photos"), help="folder with photos.npz and models"
    )
    parser.add_argument("--kinds", default="int8,fp16,weights", metavar="KIND,…", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--seconds", type=float, default=300, help="patience of build, time of conformance")
    parser.add_argument(
        "--part", default="1/1", metavar="N/OF", help="of the conformance cases, to run several at once"
    )
    parser.add_argument("--small", action="store_true", help="two layers of each network: to try the script")
    parser.add_argument("--json", type=Path, metavar="FILE", help="what report writes")
    options = parser.parse_args()
    records = Records(options.work)
    for stage in options.stages:
        guarded(records, stage, "", lambda: STAGES[stage](records, options))  # noqa: B023


if __name__ == "__main__":
    main()
