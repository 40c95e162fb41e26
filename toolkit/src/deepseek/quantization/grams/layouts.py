"""Every accumulating op as one matrix product: for each group, outputs [P, M] = rows [P, K] · weightsᵀ [K, M].

P counts the places where the weights apply (samples, pixels, tokens), M the outputs of a group, K what each sums
over. Convolutions are unfolded (im2col), at chosen places only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir import Unit
from deepseek_core.reference.windows import Window

__all__ = ["Layout", "layout_of"]

Array = NDArray[Any]
Rows = NDArray[np.float32]
Picks = NDArray[np.int64]


class Layout(ABC):
    """How one unit's weight and tensors become matrices.

    Args:
        node: the compute node.
        shape: of its weight.
    """

    def __init__(self, node: ir.Node, shape: tuple[int, ...]) -> None:
        self.node, self.shape = node, shape

    @abstractmethod
    def matrix(self, weight: Array) -> Array:
        """The weight (or anything of its shape) as [G, M, K]."""

    @abstractmethod
    def array(self, matrix: Array) -> Array:
        """The inverse of `matrix`."""

    @abstractmethod
    def places(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        """P for an input and an output of these shapes."""

    @abstractmethod
    def rows(self, x: Array, y: tuple[int, ...], picks: Picks) -> Rows:
        """What the output of shape `y` sums over at the picked places, float32 [G, picks, K]."""

    @abstractmethod
    def outputs(self, y: Array, x: tuple[int, ...], picks: Picks) -> Rows:
        """The output for an input of shape `x` at the picked places, float32 [G, picks, M]."""

    @abstractmethod
    def signature(self) -> Hashable:
        """Units that read the same value and have equal signatures have equal rows."""

    @property
    def bias_scale(self) -> float:
        """What the node multiplies its bias with."""
        return 1.0


def layout_of(unit: Unit, shape: tuple[int, ...]) -> Layout | None:
    """The layout of a unit whose weight has this shape; None where the op is none of those that accumulate."""
    kind = _LAYOUTS.get(unit.op)
    return None if kind is None else kind(unit.node, shape)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Places of a convolution's output: batch × spatial."""

    batch: int
    spatial: tuple[int, ...]

    def at(self, picks: Picks) -> tuple[NDArray[np.intp], ...]:
        return np.unravel_index(picks, (self.batch, *self.spatial))


class _Conv(Layout):
    """Weight [M, C / groups, kernel…]."""

    def __init__(self, node: ir.Node, shape: tuple[int, ...]) -> None:
        super().__init__(node, shape)
        self._groups, self._kernel = node.attributes.get_int("group", 1), shape[2:]

    def matrix(self, weight: Array) -> Array:
        return weight.reshape(self._groups, self.shape[0] // self._groups, int(np.prod(self.shape[1:])))

    def array(self, matrix: Array) -> Array:
        return matrix.reshape(self.shape)

    def places(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return y[0] * int(np.prod(y[2:]))

    def rows(self, x: Array, y: tuple[int, ...], picks: Picks) -> Rows:
        window = Window.over(self.node, x.shape[2:], self._kernel)
        return self._unfolded(window.unfold(window.pad(x)), y, picks)

    def _unfolded(self, view: Array, y: tuple[int, ...], picks: Picks) -> Rows:
        places = np.moveaxis(view, 1, 1 + len(self._kernel))[_Grid(y[0], y[2:]).at(picks)]
        rows = places.reshape(len(picks), self._groups, -1).transpose(1, 0, 2)
        return np.ascontiguousarray(rows, np.float32)

    def outputs(self, y: Array, x: tuple[int, ...], picks: Picks) -> Rows:
        picked = np.moveaxis(y, 1, -1)[_Grid(y.shape[0], y.shape[2:]).at(picks)]
        return np.ascontiguousarray(picked.reshape(len(picks), self._groups, -1).transpose(1, 0, 2), np.float32)

    def signature(self) -> Hashable:
        # The kernel's shape counts, the number of outputs does not.
        names = ("auto_pad", "dilations", "pads", "strides")
        attributes = tuple((name, _plain(self.node.attributes[name])) for name in names if name in self.node.attributes)
        return (self.node.op_type, self._groups, self._kernel, attributes)


class _ConvTranspose(_Conv):
    """Weight [C, M / groups, kernel…]: a convolution with the kernel mirrored, over the input with gaps between."""

    def matrix(self, weight: Array) -> Array:
        grouped = weight.reshape(self._groups, self.shape[0] // self._groups, *self.shape[1:])
        matrix = grouped.swapaxes(1, 2)
        return matrix.reshape(*matrix.shape[:2], int(np.prod(matrix.shape[2:])))

    def array(self, matrix: Array) -> Array:
        grouped = matrix.reshape(self._groups, self.shape[1], self.shape[0] // self._groups, *self._kernel)
        return grouped.swapaxes(1, 2).reshape(self.shape)

    def rows(self, x: Array, y: tuple[int, ...], picks: Picks) -> Rows:
        window = Window.behind(self.node, x.shape[2:], self._kernel)
        extent = [(k - 1) * d + 1 for k, d in zip(self._kernel, window.dilations, strict=True)]
        spread = np.zeros((*x.shape[:2], *(r + e - 1 for r, e in zip(window.reach, extent, strict=True))), np.float32)
        rows = zip(extent, window.strides, x.shape[2:], strict=True)
        spread[:, :, *(slice(e - 1, e - 1 + (n - 1) * s + 1, s) for e, s, n in rows)] = x
        dense = Window(self._kernel, (1,) * len(extent), window.dilations, (), (), window.reach)
        view = dense.unfold(spread)
        mirrored = np.flip(view, tuple(range(-len(extent), 0)))
        return self._unfolded(_shown(mirrored, window, y[2:]), y, picks)


def _shown(view: Array, window: Window, spatial: tuple[int, ...]) -> Array:
    """The positions [N, C, positions…, kernel…] that padding leaves; where negative padding adds some, zeros."""
    begin, end = window.begin, window.end
    missing = [(max(-b, 0), max(-e, 0)) for b, e in zip(begin, end, strict=True)]
    cut = view[:, :, *(slice(max(b, 0), n - max(e, 0)) for b, e, n in zip(begin, end, window.reach, strict=True))]
    if any(map(any, missing)):
        cut = np.pad(cut, [(0, 0), (0, 0), *missing, *((0, 0) for _ in spatial)])
    return cut


class _Gemm(Layout):
    """Weight [K, M], or [M, K] with transB; alpha belongs to the rows, beta to the bias."""

    def __init__(self, node: ir.Node, shape: tuple[int, ...]) -> None:
        super().__init__(node, shape)
        self._flip = not node.attributes.get_int("transB", 0)

    def matrix(self, weight: Array) -> Array:
        rows: Array = weight.T if self._flip else weight
        return rows[None]

    def array(self, matrix: Array) -> Array:
        rows: Array = matrix[0].T if self._flip else matrix[0]
        return rows

    def places(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return y[0]

    def rows(self, x: Array, y: tuple[int, ...], picks: Picks) -> Rows:
        rows = x.T if self.node.attributes.get_int("transA", 0) else x
        alpha = np.float32(self.node.attributes.get_float("alpha", 1.0))
        return np.asarray(rows[picks][None] * alpha, np.float32)

    def outputs(self, y: Array, x: tuple[int, ...], picks: Picks) -> Rows:
        return np.asarray(y[picks][None], np.float32)

    def signature(self) -> Hashable:
        attributes = self.node.attributes
        return ("Gemm", attributes.get_int("transA", 0), attributes.get_float("alpha", 1.0))

    @property
    def bias_scale(self) -> float:
        return self.node.attributes.get_float("beta", 1.0)


class _MatMul(Layout):
    """Weight [K], [K, M] or [batch…, K, M]; every matrix of a batch is a group."""

    def __init__(self, node: ir.Node, shape: tuple[int, ...]) -> None:
        super().__init__(node, shape)
        self._full = shape if len(shape) > 1 else (*shape, 1)

    def matrix(self, weight: Array) -> Array:
        return weight.reshape(-1, *self._full[-2:]).swapaxes(1, 2)

    def array(self, matrix: Array) -> Array:
        return matrix.swapaxes(1, 2).reshape(self.shape)

    def places(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return int(np.prod(self._output(x)[:-1])) // int(np.prod(self._full[:-2]))

    def rows(self, x: Array, y: tuple[int, ...], picks: Picks) -> Rows:
        matrix = x if x.ndim > 1 else x[None]
        whole = np.broadcast_to(matrix, (*self._output(x.shape)[:-1], matrix.shape[-1]))
        return self._grouped(whole, picks)

    def outputs(self, y: Array, x: tuple[int, ...], picks: Picks) -> Rows:
        return self._grouped(y.reshape(self._output(x)), picks)

    def _output(self, x: tuple[int, ...]) -> tuple[int, ...]:
        """Shape [batch…, P, M] of the output with the axes that a vector would drop."""
        rows = x if len(x) > 1 else (1, *x)
        batch = np.broadcast_shapes(rows[:-2], self._full[:-2])
        return (*batch, rows[-2], self._full[-1])

    def _grouped(self, tensor: Array, picks: Picks) -> Rows:
        """[batch…, P, n] → [G, picks, n]: axes along which the weight has matrices of its own go first."""
        own = self._full[:-2]
        lead = tensor.ndim - 2 - len(own)
        mine = [lead + i for i, n in enumerate(own) if n > 1]
        others = [i for i in range(tensor.ndim - 1) if i not in mine]
        moved = tensor.transpose(*mine, *others, tensor.ndim - 1)
        groups = int(np.prod(own))
        flat = moved.reshape(groups, -1, tensor.shape[-1])
        return np.ascontiguousarray(flat[:, picks], np.float32)

    def signature(self) -> Hashable:
        return ("MatMul", self._full[:-2])


def _plain(attribute: ir.Attr) -> Hashable:
    value = attribute.value
    return tuple(value) if isinstance(value, list | tuple) else value


_LAYOUTS: dict[str, type[Layout]] = {
    "Conv": _Conv,
    "ConvTranspose": _ConvTranspose,
    "Gemm": _Gemm,
    "MatMul": _MatMul,
}
