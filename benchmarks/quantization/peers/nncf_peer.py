"""NNCF's ONNX backend: post-training quantization with its default and its accurate settings, and INT4 weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nncf
import onnx
from nncf.quantization.advanced_parameters import AdvancedCompressionParameters, GroupSizeFallbackMode
from peer import Feeds, is_transformer, main, save

BLOCK = 32


def static(accurate: bool, model: Path, samples: list[Feeds], output: Path) -> None:
    source = onnx.load(model)
    quantized = nncf.quantize(
        source,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if is_transformer(source) else None,
        subset_size=len(samples),
        fast_bias_correction=not accurate,
    )
    save(quantized, output)


def blocks(model: Path, samples: list[Feeds], output: Path) -> None:
    quantized = nncf.compress_weights(
        onnx.load(model),
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        ratio=1.0,
        group_size=BLOCK,
        dataset=nncf.Dataset(samples),
        subset_size=len(samples),
        awq=True,
        scale_estimation=True,
        advanced_parameters=AdvancedCompressionParameters(group_size_fallback_mode=GroupSizeFallbackMode.ADJUST),
    )
    save(quantized, output)


if __name__ == "__main__":
    main({"int8": partial(static, False), "int8-accurate": partial(static, True), "int4": blocks})
