"""ONNX Runtime's quantization tool: static INT8 as its documentation advises, and block-wise INT4 weights.

Static: pre-processing first, QDQ with S8S8 (its first choice for CPUs), weights per channel. Samples go to the
calibrator one by one, so that its histograms need not hold all activations of all samples and shapes may vary. Entropy
gets 2,048 bins: the default of 128 bins for 128 codes leaves one threshold to choose from, min-max.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime.quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process
from peer import Feeds, main

BINS, BLOCK = 2048, 32


class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[Feeds]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.feeds, None)


def static(calibrator: str, model: Path, samples: list[Feeds], output: Path) -> None:
    _one_by_one()
    ort.quantize_static(
        preprocessed(model),
        str(output),
        Reader(samples),
        quant_format=ort.QuantFormat.QDQ,
        per_channel=True,
        activation_type=ort.QuantType.QInt8,
        weight_type=ort.QuantType.QInt8,
        calibrate_method=ort.CalibrationMethod[calibrator],
    )


def dynamic(model: Path, samples: list[Feeds], output: Path) -> None:
    """Ranges of activations are found in every run, as its documentation advises for recurrent and attention layers."""
    ort.quantize_dynamic(
        preprocessed(model),
        str(output),
        per_channel=True,
        weight_type=ort.QuantType.QInt8,
        extra_options={"EnableSubgraph": True},
    )


def preprocessed(model: Path) -> str:
    """The model after shape inference and ONNX Runtime's own optimization; symbolic inference only where it works."""
    target = "preprocessed.onnx"
    try:
        quant_pre_process(str(model), target, auto_merge=True)
    except Exception:  # what it raises where it cannot follow a shape differs from case to case
        quant_pre_process(str(model), target, skip_symbolic_shape=True)
    return target


def _one_by_one() -> None:
    # quantize_static has no option for bins or batches, so they go in where it builds the calibrator.
    module: Any = sys.modules["onnxruntime.quantization.quantize"]
    create = module.create_calibrator

    @functools.wraps(create)
    def patched(*arguments: object, extra_options: dict[str, object], **named: object) -> Any:
        options = extra_options
        if named.get("calibrate_method") == ort.CalibrationMethod.Entropy:
            options = {**extra_options, "num_bins": BINS}
        calibrator = create(*arguments, extra_options=options, **named)
        collect = calibrator.collect_data

        def by_sample(reader: Any) -> None:
            while (sample := reader.get_next()) is not None:
                collect(Reader([sample]))

        calibrator.collect_data = by_sample
        return calibrator

    module.create_calibrator = patched


def blocks(algorithm: str, model: Path, samples: list[Feeds], output: Path) -> None:
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    configs = {
        "rtn": lambda: nbits.DefaultWeightOnlyQuantConfig(BLOCK, is_symmetric=False),
        "hqq": lambda: nbits.HQQWeightOnlyQuantConfig(BLOCK),
        "gptq": lambda: nbits.GPTQWeightOnlyQuantConfig(Reader(samples), block_size=BLOCK),
        "kquant": nbits.KQuantWeightOnlyQuantConfig,
    }
    quantizer = nbits.MatMulNBitsQuantizer(
        onnx.load(model), bits=4, block_size=BLOCK, is_symmetric=False, algo_config=configs[algorithm]()
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(output), False)


if __name__ == "__main__":
    calibrators = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
    main(
        {
            **{name: partial(static, method) for name, method in calibrators.items()},
            "dynamic": dynamic,
            **{f"int4-{name}": partial(blocks, name) for name in ("rtn", "hqq", "gptq", "kquant")},
        }
    )
