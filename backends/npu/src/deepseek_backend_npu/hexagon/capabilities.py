"""What the HTP runs as this backend asks for it. One table for every version: QNN places the same units on each.

QNN places more than this. Left out is what its simulation computes otherwise than declared (onnxruntime-qnn 2.7.0):
16-bit activations, products of two activations, Softmax with a scale of the model's choice, Resize, pooling in one
dimension, and tensors of more than four axes.
"""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_backend_npu.hexagon.variants import architecture
from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target

__all__ = ["FORMATS", "capabilities"]

FORMATS = ("ep-context", "qnn-context")

_TYPES = (QuantScheme(DType.UINT8), QuantScheme(DType.INT8))
_PER_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_PER_TENSOR = QuantScheme(DType.INT8, symmetric=True)

_PEAK = 13e12
_BANDWIDTH = 51.2e9
"""Published of the Snapdragon 888, the first chip with a v68: 26 TOPS, 51.2 GB/s. Later ones are faster."""
_LAUNCH = 100e-6
"""Seconds of a call from the host to the DSP and back."""

_FUSED = ("Relu", "Clip")
_ALWAYS = (Limit("static"), Limit("dim:0", minimum=1), Limit("rank", maximum=4))
_IMAGE = (*_ALWAYS, Limit("rank", 4, 4))
_CONV = (*_ALWAYS, Limit("rank", 3, 4))
_NO_DILATION = Limit("attr:dilations", allowed=(1,), default=1)
_TRANSPOSED = (
    *_IMAGE,
    _NO_DILATION,
    Limit("attr:group", maximum=1, default=1),
    Limit("attr:output_padding", allowed=(0,), default=0),
)
_PLAIN = tuple(Limit(f"attr:{name}", allowed=(1.0,), default=1.0) for name in ("alpha", "beta"))


def capabilities(target: Target) -> Capabilities:
    """The table of a version.

    Raises:
        TargetError: there is no such version, or a feature is asked for.
    """
    architecture(target)
    return Capabilities(target, tuple(_rules()), formats=FORMATS, peak_macs=_PEAK, bandwidth=_BANDWIDTH, launch=_LAUNCH)


def _rules() -> Iterator[OpRule]:
    for codes in _TYPES:
        for weight in (_PER_CHANNEL, _PER_TENSOR):
            yield OpRule("Conv", codes, codes, weight, DType.INT32, fused=_FUSED, limits=_CONV)
            yield OpRule("ConvTranspose", codes, codes, weight, DType.INT32, fused=_FUSED, limits=_TRANSPOSED)
            yield OpRule("Gemm", codes, codes, weight, DType.INT32, fused=_FUSED, limits=(*_ALWAYS, *_PLAIN))
            yield OpRule("MatMul", codes, codes, weight, fused=_FUSED, limits=_ALWAYS)
        for op, limits in _OTHER.items():
            if (op, codes.dtype) == ("Pad", DType.INT8):
                continue  # QNN pads int8 with a wrong code
            yield OpRule(op, codes, codes, fused=_FUSED if op == "Add" else (), limits=(*_ALWAYS, *limits))


_WINDOW = (Limit("rank", 4, 4), _NO_DILATION, Limit("attr:ceil_mode", allowed=(0,), default=0))
_OTHER: dict[str, tuple[Limit, ...]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Min", "Max"), ()),
    **dict.fromkeys(("Abs", "Clip", "Elu", "HardSwish", "Relu", "Sigmoid", "Tanh", "Gelu"), ()),
    "AveragePool": (*_WINDOW, Limit("attr:count_include_pad", allowed=(0,), default=0)),
    "Concat": (),
    "Flatten": (),
    "Gather": (Limit("rank", maximum=3),),
    "GlobalAveragePool": (Limit("rank", 4, 4),),
    "GlobalMaxPool": (Limit("rank", 4, 4),),
    "MaxPool": _WINDOW,
    "Pad": (Limit("attr:mode", allowed=("constant",), default="constant"),),
    "ReduceMean": (),
    "Reshape": (),
    "Slice": (),
    "Split": (),
    "Squeeze": (),
    "Transpose": (),
    "Unsqueeze": (Limit("rank", maximum=2),),
}
