"""Windows, blocks and pads of an operation, from its registers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepseek_backend_npu.emulator.isa import Upscale
from deepseek_backend_npu.emulator.stream import HazardError, Registers, known

__all__ = ["Kernel"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A window.

    Attributes:
        size: elements in height and width.
        stride, dilation: in height and width.
        pads: top, left, bottom, right.
        upscale: how the input is enlarged before the window sees it.
        part_first: whether weights go through the window before the input's channels.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    upscale: Upscale
    part_first: bool

    @classmethod
    def of(cls, registers: Registers) -> Kernel:
        word = registers["KERNEL_STRIDE"]
        stride = (1 + (word >> 1 & 1) + (word >> 9 & 1) * 2, 1 + (word & 1) + (word >> 6 & 1) * 2)
        dilation = (1 + (word >> 4 & 1), 1 + (word >> 3 & 1))
        if word >> 5 & 1:
            raise HazardError("windows of 4 × 4 parts are not emulated")
        span = registers["KERNEL_HEIGHT_M1"], registers["KERNEL_WIDTH_M1"]
        return cls(
            (span[0] // dilation[0] + 1, span[1] // dilation[1] + 1),
            stride,
            dilation,
            (
                registers["IFM_PAD_TOP"],
                registers["IFM_PAD_LEFT"],
                registers["IFM_PAD_BOTTOM"],
                registers["IFM_PAD_RIGHT"],
            ),
            known(Upscale, registers["IFM_UPSCALE"]),
            bool(word >> 2 & 1),
        )

    def over(self, shape: tuple[int, int, int]) -> Kernel:
        """The same window over an output of `shape`, with the stride 1 along axes where it has one position."""
        strides = [stride if shape[axis] > 1 else 1 for axis, stride in enumerate(self.stride)]
        return replace(self, stride=(strides[0], strides[1]))

    def span(self, axis: int) -> int:
        """Input positions from the window's first to its last."""
        return (self.size[axis] - 1) * self.dilation[axis] + 1

    def input_size(self, axis: int, outputs: int) -> int:
        """Rows (0) or columns (1) of the stored input that `outputs` positions of the window read."""
        before, behind = self.pads[axis], self.pads[axis + 2]
        seen = (outputs - 1) * self.stride[axis] + self.span(axis) - before - behind
        return seen if self.upscale is Upscale.NONE else -(-seen // 2)

    def block(self, axis: int, outputs: int, longest: int | None = None) -> int:
        """Rows or columns of the stored input behind a block of `outputs`, pads not counted."""
        span = self.span(axis) if longest is None else min(self.span(axis), longest)
        seen = (outputs - 1) * self.stride[axis] + span + (self.upscale is Upscale.NEAREST)
        return seen if self.upscale is Upscale.NONE else -(-seen // 2)
