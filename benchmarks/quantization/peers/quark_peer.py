"""AMD Quark's ONNX quantizer: S8S8 with percentile calibration, with AdaRound, and block-wise INT4 weights."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization.calibrate import CalibrationDataReader
from peer import Feeds, is_transformer, main
from quark.onnx import ModelQuantizer
from quark.onnx.quantization.config.config import Config
from quark.onnx.quantization.config.custom_config import (
    MATMUL_NBITS_CONFIG,
    S8S8_AAWS_ADAROUND_CONFIG,
    S8S8_AAWS_CONFIG,
)

BLOCK = 32


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: list[Feeds]) -> None:
        self.samples, self.feeds = feeds, iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.feeds, None)

    def rewind(self) -> None:
        self.feeds = iter(self.samples)

    def reset_iter(self) -> None:
        self.rewind()


def run(preset: Any, model: Path, samples: list[Feeds], output: Path) -> None:
    config = copy.deepcopy(preset)
    config.per_channel = True
    config.include_cle = not is_transformer(onnx.load(model))
    if config.include_fast_ft:
        config.extra_options["FastFinetune"]["DataSize"] = len(samples)
    ModelQuantizer(Config(global_quant_config=config)).quantize_model(str(model), str(output), Reader(samples))


def blocks(model: Path, samples: list[Feeds], output: Path) -> None:
    config = copy.deepcopy(MATMUL_NBITS_CONFIG)
    settings = {"GroupSize": BLOCK, "Symmetric": False, "Bits": 4, "AccuracyLevel": 0, "Algorithm": "GPTQ"}
    config.extra_options = {
        "UseMatMulNBits": True,
        "MatMulNBitsParams": settings,
        "GPTQParams": {"Bits": 4, "BlockSize": 128, "GroupSize": BLOCK, "WeightSymmetric": False},
    }
    ModelQuantizer(Config(global_quant_config=config)).quantize_model(str(model), str(output), Reader(samples))


if __name__ == "__main__":
    main(
        {
            "s8s8": partial(run, S8S8_AAWS_CONFIG),
            "s8s8-adaround": partial(run, S8S8_AAWS_ADAROUND_CONFIG),
            "int4-gptq": blocks,
        }
    )
