"""What a quantized tensor looks like: data type, granularity, symmetry. Plain data, no graph library."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deepseek_core.errors import ConfigError

__all__ = ["DType", "Granularity", "QuantScheme"]


class DType(StrEnum):
    """Element types the IR speaks about, by the name NumPy and ml_dtypes give them."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT8E4M3FN = "float8_e4m3fn"
    INT32 = "int32"
    INT16 = "int16"
    UINT16 = "uint16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT4 = "int4"
    UINT4 = "uint4"

    @property
    def bits(self) -> int:
        """Storage bits of one element."""
        return _BITS[self]

    @property
    def is_integer(self) -> bool:
        return "int" in self.value

    @property
    def is_signed(self) -> bool:
        return not self.value.startswith("u")

    @property
    def is_quantized(self) -> bool:
        """Whether QuantizeLinear can produce it (INT32 appears only as a quantized bias)."""
        return self in _QUANTIZED

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest representable value."""
        if self is DType.FLOAT8E4M3FN:
            return (-448.0, 448.0)
        if not self.is_integer:
            raise ConfigError(f"dtype {self} has no quantized range", fix="use an integer type or float8_e4m3fn")
        if self.is_signed:
            return (-float(2 ** (self.bits - 1)), float(2 ** (self.bits - 1) - 1))
        return (0.0, float(2**self.bits - 1))


_BITS = {
    DType.FLOAT32: 32,
    DType.FLOAT16: 16,
    DType.BFLOAT16: 16,
    DType.FLOAT8E4M3FN: 8,
    DType.INT32: 32,
    DType.INT16: 16,
    DType.UINT16: 16,
    DType.INT8: 8,
    DType.UINT8: 8,
    DType.INT4: 4,
    DType.UINT4: 4,
}
_QUANTIZED = frozenset(
    (DType.INT16, DType.UINT16, DType.INT8, DType.UINT8, DType.INT4, DType.UINT4, DType.FLOAT8E4M3FN)
)


class Granularity(StrEnum):
    """How many elements share one scale and zero point."""

    PER_TENSOR = "per_tensor"
    PER_CHANNEL = "per_channel"
    PER_BLOCK = "per_block"


@dataclass(frozen=True, slots=True)
class QuantScheme:
    """dtype × granularity × symmetric × narrow range.

    Attributes:
        dtype: element type of the quantized tensor.
        granularity: per tensor, per channel along `axis`, or per block of `block_size` along `axis`.
        symmetric: the real value 0 maps to the integer 0; the zero point is 0 for signed types.
        narrow_range: the most negative code is left out (int8: [-127, 127]).
        axis: the quantized axis. In a capability table None means "the output-channel axis of the op".
        block_size: elements of `axis` that share a scale (PER_BLOCK only).
    """

    dtype: DType
    granularity: Granularity = Granularity.PER_TENSOR
    symmetric: bool = False
    narrow_range: bool = False
    axis: int | None = None
    block_size: int | None = None

    def __post_init__(self) -> None:
        if not (self.dtype.is_quantized or self.dtype is DType.INT32):
            raise ConfigError(
                f"{self.dtype} is not a quantized dtype", fix="use int4…int16, uint4…uint16 or float8_e4m3fn"
            )
        if (self.block_size is not None) != (self.granularity is Granularity.PER_BLOCK):
            raise ConfigError(
                f"block_size={self.block_size} with {self.granularity}",
                fix="give block_size exactly for per_block schemes",
            )
        if self.block_size is not None and self.block_size < 1:
            raise ConfigError(f"block_size={self.block_size}", fix="give a positive block size")
        if self.granularity is Granularity.PER_TENSOR and self.axis is not None:
            raise ConfigError(f"axis={self.axis} with per_tensor", fix="leave axis out, or use per_channel")

    @property
    def qmin(self) -> float:
        """Smallest code the scheme uses."""
        low, _ = self.dtype.range
        return low + 1 if self.narrow_range and self.dtype.is_integer and self.dtype.is_signed else low

    @property
    def qmax(self) -> float:
        """Largest code the scheme uses."""
        return self.dtype.range[1]

    @property
    def levels(self) -> int:
        """Number of codes of an integer scheme (256 for int8, 255 with narrow range)."""
        return int(self.qmax - self.qmin) + 1

    def __str__(self) -> str:
        parts = [str(self.dtype), str(self.granularity)]
        if self.axis is not None:
            parts.append(f"axis={self.axis}")
        if self.block_size is not None:
            parts.append(f"block={self.block_size}")
        parts.append("symmetric" if self.symmetric else "asymmetric")
        if self.narrow_range:
            parts.append("narrow")
        return " ".join(parts)

    def to_json(self) -> dict[str, object]:
        """JSON form; `from_json` is its inverse."""
        return {
            "dtype": str(self.dtype),
            "granularity": str(self.granularity),
            "symmetric": self.symmetric,
            "narrow_range": self.narrow_range,
            "axis": self.axis,
            "block_size": self.block_size,
        }

    @classmethod
    def from_json(cls, data: dict[str, object]) -> QuantScheme:
        """Read `to_json`'s form.

        Raises:
            ConfigError: a key or value is unknown.
        """
        try:
            return cls(**{**data, "dtype": DType(data["dtype"]), "granularity": Granularity(data["granularity"])})  # type: ignore[arg-type]
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(
                f"not a quantization scheme: {data!r} ({error})", fix="write it as QuantScheme.to_json does"
            ) from None
