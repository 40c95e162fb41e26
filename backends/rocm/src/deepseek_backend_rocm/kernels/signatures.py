"""What each kernel takes, said once and without Triton: launches are packed, and sources compiled, from this table.

The order is that of the Triton function's parameters: pointers, integers, reals, then constants.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SIGNATURES", "Signature", "Variant"]

Constant = int | bool | str
_HIDDEN = 16
"""Bytes behind the arguments: addresses of two kinds of scratch memory, which none of these kernels uses."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A kernel's parameters.

    Attributes:
        name: of the kernel, and of the Triton function in `module`.
        module: in this package.
        pointers: name → element type as Triton writes it; "" where variants differ.
        written: the one pointer that it writes through.
        integers: int32 parameters.
        reals: float32 parameters.
        constants: what a variant fixes.
        loops: innermost loops that do its work, one after the other.
    """

    name: str
    module: str
    pointers: Mapping[str, str]
    written: str
    integers: tuple[str, ...] = ()
    reals: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    loops: int = 1

    @property
    def size(self) -> int:
        """Bytes of the kernel arguments, hidden ones included."""
        end = 8 * len(self.pointers) + 4 * (len(self.integers) + len(self.reals))
        return -(-end // 8) * 8 + _HIDDEN

    def position(self, pointer: str) -> int:
        """Where an address goes among the arguments."""
        return 8 * list(self.pointers).index(pointer)

    def pack(self, values: Mapping[str, int | float]) -> bytes:
        """The arguments as HIP's ABI lays them out, with zeros for addresses; every value must be there."""
        integers = struct.pack(f"<{len(self.integers)}i", *(values[name] for name in self.integers))
        reals = struct.pack(f"<{len(self.reals)}f", *(values[name] for name in self.reals))
        data = bytes(8 * len(self.pointers)) + integers + reals
        return data + bytes(self.size - len(data))


@dataclass(frozen=True, slots=True)
class Variant:
    """What one code object is compiled from.

    Attributes:
        kernel: a name in `SIGNATURES`.
        constants: value of each constant, in order.
        types: element types of pointers whose type is open, in order.
        divisible: integer parameters that are multiples of a power of two in every launch: wide loads need to know.
        warps: wavefronts of a workgroup.
        stages: of the software pipeline of its inner loop.
        instruction: rows of the matrix instruction, 0 for the compiler's choice.
    """

    kernel: str
    constants: tuple[tuple[str, Constant], ...]
    types: tuple[tuple[str, str], ...] = ()
    divisible: tuple[tuple[str, int], ...] = ()
    warps: int = 4
    stages: int = 2
    instruction: int = 0

    @classmethod
    def of(
        cls,
        kernel: str,
        constants: Mapping[str, Constant],
        *,
        types: Mapping[str, str] | None = None,
        divisible: tuple[tuple[str, int], ...] = (),
        warps: int = 4,
        stages: int = 2,
        instruction: int = 0,
    ) -> Variant:
        """From its constants by name."""
        ordered = tuple((name, constants[name]) for name in SIGNATURES[kernel].constants)
        return cls(kernel, ordered, tuple((types or {}).items()), divisible, warps, stages, instruction)

    @property
    def name(self) -> str:
        """For people and reports, unique."""
        fixed = [f"{name}={value}" for name, value in (*self.types, *self.constants)]
        fixed += [f"warps={self.warps}", f"stages={self.stages}"]
        fixed += [f"instruction={self.instruction}"] if self.instruction else []
        fixed += [f"{name}%{multiple}" for name, multiple in self.divisible]
        return f"{self.kernel}[{','.join(fixed)}]"

    def constant(self, name: str) -> int:
        """The value of an integer constant."""
        return int(dict(self.constants)[name])


def _signature(name: str, module: str, *words: str, loops: int = 1) -> Signature:
    """`words`: pointers with their types, integers, reals, constants."""
    pointers, integers, reals, constants = (tuple(text.split()) for text in words)
    return Signature(name, module, dict(word.split(":") for word in pointers), "y", integers, reals, constants, loops)


_WINDOW = "sh sw dh dw top left"
_SIZES = "d1 d2 d3 d4 d5"
_HEADS = (
    "m n depth wide inner q_outer q_inner q_row q_k k_outer k_inner k_column k_k v_outer v_inner v_row v_column "
    "y_outer y_inner y_row mask_outer mask_inner mask_row mask_column"
)
_HEAD_TILES = "BM BN BD BV Q_ROWS K_ROWS V_ROWS SCALE MASK"


def _strides(name: str) -> str:
    return " ".join(f"{name}{axis}" for axis in range(6))


SIGNATURES = {
    signature.name: signature
    for signature in (
        *(
            _signature(
                name,
                module,
                "x:i8 w:i8 bias:i32 factor:fp32 classes:i32 table:i32 addend:i8 y:",
                f"rows n c depth x_row y_row h wide oh ow kw taps {_WINDOW} columns "
                "zero low high addend_zero sum_zero sum_low sum_high",
                "own_scale addend_scale sum_scale real_low real_high",
                constants,
            )
            for name, module, constants in (
                ("conv", "matrix", "BM BN BK MODE EVEN ADD REAL"),
                ("direct", "direct", "BM BN BK DOWN ACROSS VERSION EVEN ADD REAL"),
            )
        ),
        _signature("part", "split", "x:i8 w:i8 y:i32", "rows n c depth x_row span", "", "BM BN BK EVEN"),
        _signature(
            "join",
            "split",
            "x:i32 bias:i32 factor:fp32 addend:i8 y:",
            "count n parts zero low high addend_zero sum_zero sum_low sum_high",
            "own_scale addend_scale sum_scale real_low real_high",
            "BLOCK ADD REAL",
        ),
        _signature(
            "matmul",
            "matrix",
            "a:i8 b:i8 y:",
            "m n k inner a_outer a_inner b_outer b_inner y_outer y_inner a_row a_k b_k b_column y_row "
            "a_zero b_zero zero low high",
            "factor real_low real_high",
            "BM BN BK A_ROWS B_COLUMNS REAL",
        ),
        _signature(
            "matmul_real",
            "real_matrix",
            "a: b: y:",
            "m n k inner a_outer a_inner b_outer b_inner y_outer y_inner a_row a_k b_k b_column y_row",
            "low high",
            "BM BN BK A_ROWS B_COLUMNS",
        ),
        _signature(
            "attention",
            "attention",
            "q:i8 k:i8 v:i8 mask:fp32 y:",
            f"{_HEADS} q_zero k_zero s_zero p_zero v_zero zero low high",
            "factor scale p_scale y_factor real_low real_high",
            f"{_HEAD_TILES} WHOLE REAL",
            loops=2,
        ),
        _signature(
            "attention_real", "attention", "q:fp32 k:fp32 v:fp32 mask:fp32 y:fp32", _HEADS, "scale", _HEAD_TILES
        ),
        _signature(
            "depthwise",
            "window",
            "x:i8 w:i8 bias:i32 factor:fp32 y:i8",
            f"rows c h wide oh ow kh kw {_WINDOW} x_zero zero low high",
            "",
            "BM BC",
        ),
        _signature(
            "pool",
            "window",
            "x:i8 y:i8",
            f"rows c h wide oh ow kh kw {_WINDOW} bottom right include_pad x_zero zero",
            "x_scale y_scale",
            "BM BC MEAN",
        ),
        _signature(
            "binary",
            "pointwise",
            "a:i8 b:i8 y:i8",
            f"count {_SIZES} {_strides('a')} {_strides('b')} a_zero b_zero zero low high",
            "a_scale b_scale y_scale",
            "OP RANK BLOCK",
        ),
        _signature("lookup", "pointwise", "x:i8 table:i8 y:i8", "count", "", "BLOCK"),
        _signature("quantize", "pointwise", "x: scale:fp32 zero:i32 y:i8", "count channels inner", "", "BLOCK"),
        _signature("dequantize", "pointwise", "x: scale:fp32 zero:i32 y:", "count channels inner", "", "BLOCK"),
        _signature(
            "copy",
            "movement",
            "x: y:",
            f"count x_offset y_offset {_SIZES} {_strides('x')} {_strides('y')}",
            "",
            "RANK BLOCK",
        ),
        _signature(
            "binary_real",
            "real",
            "a:fp32 b:fp32 y:fp32",
            f"count {_SIZES} {_strides('a')} {_strides('b')}",
            "low high",
            "OP RANK BLOCK",
        ),
        _signature("unary_real", "real", "x:fp32 y:fp32", "count", "low high", "OP BLOCK"),
        _signature("cast", "real", "x: y:", "count", "", "BLOCK"),
        _signature("reduce_real", "real", "x:fp32 y:fp32", "rows count", "", "OP BM BLOCK"),
        _signature("softmax_real", "real", "x:fp32 y:fp32", "rows count", "", "BM BLOCK"),
        _signature(
            "layer_norm_real", "real", "x:fp32 gain:fp32 shift:fp32 y:fp32", "rows count", "epsilon", "BM BLOCK"
        ),
        _signature(
            "weight_only",
            "weights",
            "x: w: scale:fp32 zero:i8 bias:fp32 y:",
            "m n k pitch block",
            "low high",
            "BM BN BITS EXACT",
        ),
        _signature("fill", "movement", "y:i8", "count value", "", "BLOCK"),
        _signature("gather", "movement", "x: indices: y:", "count axis inner taken", "", "BLOCK"),
        _signature("mean", "rows", "x:i8 y:i8", "rows count x_zero zero", "x_scale y_scale", "BM BLOCK"),
        _signature("softmax", "rows", "x:i8 table:fp32 y:i8", "rows count zero", "y_scale", "BM BLOCK"),
        _signature(
            "layer_norm",
            "rows",
            "x:i8 gain:fp32 shift:fp32 y:i8",
            "rows count x_zero zero",
            "x_scale y_scale epsilon",
            "BM BLOCK",
        ),
    )
}
"""Every kernel by name."""
