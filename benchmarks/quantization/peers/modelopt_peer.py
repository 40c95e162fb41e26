"""NVIDIA ModelOpt's ONNX quantization: INT8 with max or entropy calibration, and INT4 weights with AWQ."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from modelopt.onnx.quantization import quantize
from onnxruntime.quantization.calibrate import CalibrationDataReader
from peer import Feeds, main

BLOCK = 32


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: list[Feeds]) -> None:
        self.samples, self.feeds = feeds, iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.feeds, None)

    def get_first(self) -> Feeds:
        return self.samples[0]

    def rewind(self) -> None:
        self.feeds = iter(self.samples)


def alike(samples: list[Feeds]) -> list[Feeds]:
    """The largest group of samples with equal shapes: AWQ joins the activations of all samples."""
    shapes = [tuple(array.shape for array in sample.values()) for sample in samples]
    commonest = max(shapes, key=shapes.count)
    return [sample for sample, shape in zip(samples, shapes, strict=True) if shape == commonest]


def run(mode: str, calibrator: str, model: Path, samples: list[Feeds], output: Path) -> None:
    quantize(
        str(model),
        quantize_mode=mode,
        calibration_method=calibrator,
        calibration_data_reader=Reader(alike(samples) if mode == "int4" else samples),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",  # the judge compares with fp32; half precision would add its own noise
        enable_gemv_detection_for_trt=False,  # it keeps products of one row in float for TensorRT's sake
        block_size=BLOCK if mode == "int4" else None,
        simplify=True,
        output_path=str(output),
        log_level="ERROR",
    )


if __name__ == "__main__":
    main(
        {
            "int8-max": partial(run, "int8", "max"),
            "int8-entropy": partial(run, "int8", "entropy"),
            "int4-awq-lite": partial(run, "int4", "awq_lite"),
            "int4-awq-clip": partial(run, "int4", "awq_clip"),
        }
    )
