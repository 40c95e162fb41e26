"""Calls of a module: what its forward takes and returns, against the names of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.frontends.arrays import as_array, is_tensor
from deepseek.quantization.frontends.network import Tensors
from deepseek.quantization.frontends.torch.arguments import Arguments
from deepseek.quantization.frontends.torch.flat import Nesting
from deepseek_core import Feeds

__all__ = ["ModuleCalls"]


@dataclass(frozen=True, slots=True, eq=False)
class ModuleCalls:
    """See `Calls`. Floats of a module in half precision are computed, and returned, in float32.

    Attributes:
        arguments: how forward is called.
        nesting: how it nests what it returns; None before it was run.
        half: the module had parameters of another float type than float32.
    """

    arguments: Arguments
    nesting: Nesting | None = None
    half: bool = False

    def call(self, run: Callable[[Feeds], Tensors], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See `Calls`."""
        assert self.nesting is not None
        tensors = self.arguments.tensors(args, kwargs)
        outputs = run({name: self.array(value) for name, value in tensors.items()})
        return self.nesting.pack(outputs, as_torch=any(map(is_tensor, tensors.values())))

    def element(self, element: Any, number: int) -> Tensors:
        """See `Calls`."""
        tensors = {name: self.array(v) for name, v in self.arguments.element(element, number).items()}
        return {name: self._batched(array, self.arguments.leaves[name]) for name, array in tensors.items()}

    def array(self, value: Any) -> NDArray[Any]:
        """A tensor as the graph takes it."""
        array = as_array(value)
        return array.astype(np.float32) if self.half and array.dtype in (np.float16, np.float64) else array

    @staticmethod
    def _batched(array: NDArray[Any], example: Any) -> NDArray[Any]:
        """A sample without its batch axis gets one."""
        return array[np.newaxis] if array.ndim == example.ndim - 1 else array
