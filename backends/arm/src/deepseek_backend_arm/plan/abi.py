"""Arguments of every kernel of the runtime, said once: the C header and the words of a step are made from it.

Each argument is a 32-bit word, so that a step is the same bytes in an artifact and in a C initializer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = [
    "FUNCTIONS",
    "KERNELS",
    "MOST_POINTERS",
    "NOWHERE",
    "PAIRS",
    "RANK",
    "RECURRENT",
    "REDUCTIONS",
    "Kernel",
    "Value",
    "header",
    "kernel_ids",
    "table",
]

RANK = 8
NOWHERE = -2
"""Place of a tensor that is left out."""
MOST_POINTERS = 32
"""Tensors that a function of another compiler may have; `runtime/call.c` has as many."""

Value = int | float | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the runtime.

    Attributes:
        name: `conv` for the C function `ds_conv` with arguments `ds_conv_args`.
        places: tensors, by their place in memory; `y` is what it writes.
        integers: numbers of type int32.
        reals: numbers of type float.
        arrays: arrays of `RANK` int32.
    """

    name: str
    places: tuple[str, ...]
    integers: tuple[str, ...] = ()
    reals: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()

    def encode(self, values: Mapping[str, Value]) -> bytes:
        """The words of one step, little-endian, in the order of the C struct."""
        integers = b"".join(struct.pack("<i", values[name]) for name in (*self.places, *self.integers))
        reals = b"".join(struct.pack("<f", values[name]) for name in self.reals)
        return integers + reals + b"".join(struct.pack(f"<{RANK}i", *_filled(values[name])) for name in self.arrays)

    @property
    def words(self) -> int:
        """Size of the arguments."""
        return len(self.places) + len(self.integers) + len(self.reals) + RANK * len(self.arrays)


def _filled(value: Value) -> tuple[int, ...]:
    assert isinstance(value, tuple)
    return (*value, *(0,) * (RANK - len(value)))


def _kernel(name: str, places: str, integers: str = "", reals: str = "", arrays: str = "") -> Kernel:
    return Kernel(name, *(tuple(text.split()) for text in (places, integers, reals, arrays)))


FUNCTIONS = (
    *(
        "Abs",
        "Neg",
        "Sqrt",
        "Reciprocal",
        "Exp",
        "Erf",
        "Tanh",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Gelu",
        "GeluTanh",
    ),
    *("Relu", "Clip", "LeakyRelu", "ThresholdedRelu", "Softsign", "Silu", "Log", "Softplus", "Mish", "Sign", "Ceil"),
    *("Floor", "Round", "Sin", "Cos", "Elu", "Selu", "Celu"),
)
"""Functions of one real number."""
PAIRS = (
    *("Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu", "Mod", "Pow", "Equal", "Less", "Greater", "LessOrEqual"),
    *("GreaterOrEqual", "And", "Or", "Xor"),
)
"""Functions of two numbers; those from `Equal` on give truths."""
REDUCTIONS = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum")
RECURRENT = ("LSTM", "GRU_AFTER", "GRU_BEFORE", "RNN")
"""Layers; a GRU's reset gate is applied after the product with the state, or before."""

_WINDOW = "oh ow kh kw sh sw dh dw top left"
_BINARY = ("rank", "dims a_strides b_strides")

KERNELS = {
    kernel.name: kernel
    for kernel in (
        _kernel(
            "conv",
            "x weights bias scale tight addend shift y",
            f"n h w c oc groups depth pointwise {_WINDOW} x_zero zero low high wide "
            "addend_zero sum_zero sum_low sum_high real way",
            "own_scale addend_scale sum_scale real_low real_high",
        ),
        _kernel("depthwise", "x weights bias scale y", f"n h w c {_WINDOW} x_zero zero low high wide"),
        _kernel(
            "matmul",
            "a b y",
            "batch m k n b_batch b_row b_column a_zero b_zero zero low high real",
            "scale real_low real_high",
        ),
        _kernel(
            "binary", "a b y", f"op {_BINARY[0]} a_zero b_zero zero low high", "a_scale b_scale y_scale", _BINARY[1]
        ),
        _kernel("table", "x table y", "count"),
        _kernel("quantize", "x scale zero y", "outer channels inner"),
        _kernel("dequantize", "x scale zero y", "outer channels inner type"),
        _kernel("pool2d", "x y", f"n h w c {_WINDOW} bottom right mean include_pad x_zero zero", "x_scale y_scale"),
        _kernel("reduce", "x y", "op outer count x_zero zero", "x_scale y_scale"),
        _kernel("copy", "x y", "size rank x_offset y_offset", "", "dims x_strides y_strides"),
        _kernel("fill", "y", "size count value high"),
        _kernel("gather", "x indices y", "size outer axis inner count wide"),
        _kernel("softmax", "x table y", "outer count zero", "y_scale"),
        _kernel("layernorm", "x gain shift y", "outer count x_zero zero", "x_scale y_scale epsilon"),
        _kernel("function", "x y", "op count", "alpha beta"),
        _kernel("pairs", "a b y", "op type rank", "", "dims a_strides b_strides"),
        _kernel("where", "c a b y", "size rank", "", "dims c_strides a_strides b_strides"),
        _kernel("cast", "x y", "from to count"),
        _kernel("rsoftmax", "x y", "outer count log"),
        _kernel("rnormalize", "x gain shift y", "outer count channels", "epsilon"),
        _kernel("rreduce", "x y", "op outer count inner"),
        _kernel("resample", "x places shares y", "outer axis inner count taps", "outside"),
        _kernel("rpool", "x y", f"n h w c {_WINDOW} bottom right mean include_pad"),
        _kernel("rconv", "x weights bias y", f"n h w c oc groups depth pointwise {_WINDOW} kept", "low high"),
        _kernel("rdepthwise", "x weights bias y", f"n h w c {_WINDOW}", "low high"),
        _kernel("rmatmul", "a b scale zero bias y", "batch m k n a_batch b_batch b_row b_panel kept block", "low high"),
        _kernel("recurrent", "x r r2 bias h c y", "kind steps batch hidden gates directions direction reverse"),
        _kernel("branch", "c", "count"),
        _kernel("jump", "", "count"),
        _kernel("fail", "", "code"),
        _kernel("trip", "y limit c", "count"),
        _kernel("slot", "x trip y", "size outer axis inner reverse puts"),
        _kernel("call", " ".join(f"p{i}" for i in range(MOST_POINTERS)), "function"),
    )
}
"""Every kernel by name; the order gives their numbers in artifacts."""


def kernel_ids() -> dict[str, int]:
    """Number of each kernel in artifacts."""
    return {name: number for number, name in enumerate(KERNELS)}


def header() -> str:
    """`args.h`: a struct and a declaration for each kernel."""
    return "".join(
        [
            "/* Arguments of the kernels. Made by plan/abi.py; every member is a 32-bit word. */\n",
            '#ifndef DS_ARGS_H\n#define DS_ARGS_H\n\n#include "ds.h"\n',
            *(_enumeration(prefix, names) for prefix, names in _ENUMERATIONS.items()),
            *(_declaration(kernel) for kernel in KERNELS.values()),
            "\n#endif\n",
        ]
    )


def table() -> str:
    """`kernels.inc`: what the server finds a kernel and the size of its arguments by."""
    return "".join(f"{{ds_{k.name}, {k.words}}},\n" for k in KERNELS.values())


_ENUMERATIONS = {"F": FUNCTIONS, "P": PAIRS, "R": REDUCTIONS, "": RECURRENT}


def _enumeration(prefix: str, names: tuple[str, ...]) -> str:
    members = ", ".join(f"DS_{prefix}_{name.upper()}" if prefix else f"DS_{name}" for name in names)
    return f"\nenum {{ {members} }};\n"


def _declaration(kernel: Kernel) -> str:
    members = "".join(f"    {line}\n" for line in _members(kernel))
    name = f"ds_{kernel.name}"
    return (
        f"\ntypedef struct {{\n{members}}} {name}_args;\n\nvoid {name}(ds_context *context, const void *arguments);\n"
    )


def _members(kernel: Kernel) -> Iterator[str]:
    if kernel.places:
        yield f"int32_t {', '.join(kernel.places)};"
    if kernel.integers:
        yield f"int32_t {', '.join(kernel.integers)};"
    if kernel.reals:
        yield f"float {', '.join(kernel.reals)};"
    yield from (f"int32_t {name}[DS_RANK];" for name in kernel.arrays)
