"""AIMET-ONNX: BatchNorm folding and cross-layer equalization, quantization simulation, AdaRound or sequential MSE.

Weights per channel and asymmetric activations, as its default per-channel configuration has it; the result is its own
export to Q and DQ nodes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import aimet_onnx
import onnx
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
from aimet_onnx.common import quantsim_config
from aimet_onnx.cross_layer_equalization import equalize_model
from peer import Feeds, is_transformer, main, save

PER_CHANNEL = Path(quantsim_config.__file__).with_name("default_config_per_channel.json")
ITERATIONS = {"int8": 10_000, "int4": 15_000}
"""Of AdaRound for each layer, as its documentation recommends for each width of the weights."""


def run(weights: str, tuning: str, model: Path, samples: list[Feeds], output: Path) -> None:
    network = onnx.shape_inference.infer_shapes(onnx.load(model))
    if not is_transformer(network):
        fold_all_batch_norms_to_weight(network)
        equalize_model(network)
    sim = aimet_onnx.QuantizationSimModel(
        network, param_type=weights, activation_type="int8", config_file=str(PER_CHANNEL)
    )
    if tuning == "adaround":
        aimet_onnx.apply_adaround(sim, samples, ITERATIONS[weights])
    elif tuning == "seq-mse":
        aimet_onnx.apply_seq_mse(sim, samples)
    sim.compute_encodings(samples)
    exported: Any = sim.to_onnx_qdq(prequantize_constants=True)
    save(exported, output)


if __name__ == "__main__":
    main(
        {
            "int8": partial(run, "int8", ""),
            "int8-adaround": partial(run, "int8", "adaround"),
            "w4a8-seq-mse": partial(run, "int4", "seq-mse"),
            "w4a8-adaround": partial(run, "int4", "adaround"),
        }
    )
