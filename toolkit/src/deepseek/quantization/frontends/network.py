"""A float network as the quantizer sees it: a graph, and the way people call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from deepseek_core import Feeds, QuantizedModel

__all__ = ["Calls", "Network", "Tensors"]

Tensors = dict[str, NDArray[Any]]


class Calls(Protocol):
    """How a network is called: what users pass and get, against names and arrays of the graph."""

    def call(self, run: Callable[[Feeds], Tensors], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """One call: torch tensors in give torch tensors out, NumPy arrays NumPy arrays.

        Raises:
            FeedError: the arguments are not those of the network.
        """
        ...

    def element(self, element: Any, number: int) -> Tensors:
        """Feeds of one element of calibration data.

        Args:
            number: position of the element, from 0; for messages.

        Raises:
            CalibrationError: it cannot be told what the element means.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A float network.

    Attributes:
        model: its graph, not prepared.
        calls: see `Calls`.
        name: for people.
        module: the torch module it came from, in float32 on the CPU; None otherwise.
        forward: runs the module on tensors by name.
        notes: what a user should know about the import.
    """

    model: QuantizedModel
    calls: Calls
    name: str
    module: Any = None
    forward: Callable[[Mapping[str, Any]], Any] | None = None
    notes: tuple[str, ...] = ()
