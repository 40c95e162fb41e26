"""One calibration in a process of its own, so that its peak memory is its own: ours, or ONNX Runtime's.

Usage: calibration_job.py {ours,onnxruntime} MODEL SAMPLES COUNT OUTPUT RESULT

Both quantize the float model MODEL on the first COUNT arrays of the folder SAMPLES to uint8 activations and int8
per-channel weights, write the QDQ model to OUTPUT, and RESULT as JSON: seconds, and resident bytes before and at most.
"""

from __future__ import annotations

import functools
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 2048
"""Histogram bins; ours has 2,048 or more on the longer side of zero, whatever is asked."""

Job = Callable[[Path, list[Path], Path], None]


def prepare_ours() -> Job:
    import onnx_ir
    import onnxruntime  # noqa: F401  imported here so that neither job's memory counts its libraries

    from deepseek_core.pipeline import quantize

    def run(model: Path, files: list[Path], output: Path) -> None:
        onnx_ir.save(quantize(model, map(load, files)).model, output)

    return run


def prepare_onnxruntime() -> Job:
    import onnxruntime.quantization as ort

    # The package hides its module behind a function of that name.
    module: Any = sys.modules["onnxruntime.quantization.quantize"]
    # quantize_static has no option for the histogram and drops unknown ones, so they go in where it builds the
    # calibrator. The default of 128 bins for 128 codes leaves one threshold to choose from: min-max.
    create = module.create_calibrator

    @functools.wraps(create)
    def with_bins(*arguments: object, extra_options: dict[str, object], **named: object) -> object:
        return create(*arguments, extra_options={**extra_options, "num_bins": BINS}, **named)

    module.create_calibrator = with_bins

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, files: list[Path]) -> None:
            self.feeds = iter(map(load, files))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.feeds, None)

    def run(model: Path, files: list[Path], output: Path) -> None:
        ort.quantize_static(
            model,
            output,
            Reader(files),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            calibrate_method=ort.CalibrationMethod.Entropy,
        )

    return run


JOBS = {"ours": prepare_ours, "onnxruntime": prepare_onnxruntime}


def load(file: Path) -> dict[str, NDArray[np.float32]]:
    return {"image": np.load(file)}


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most since the last reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def main() -> None:
    name, model, folder, count, output, result = sys.argv[1:]
    files = sorted(Path(folder).glob("*.npy"))[: int(count)]
    job = JOBS[name]()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark to what is resident now
    before, start = resident("VmRSS"), time.perf_counter()
    job(Path(model), files, Path(output))
    seconds = time.perf_counter() - start
    Path(result).write_text(json.dumps({"seconds": seconds, "before": before, "peak": resident("VmHWM")}))


if __name__ == "__main__":
    main()
