"""Measure units, or remember that they were measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

import onnx_ir as ir

from deepseek_backend_cpu.kernels import FLOAT32, kernel_names
from deepseek_backend_cpu.lowering import lower
from deepseek_backend_cpu.saturation import open_exact
from deepseek_backend_cpu.tuning.memory import CHANNELS_LAST, context, open_cache
from deepseek_backend_cpu.tuning.micro import concrete, feeds_for, micro_model, transpose_model
from deepseek_core import QuantizedModel, Unit
from deepseek_core.errors import BackendError
from deepseek_core.selection import measure, unit_signature

__all__ = ["Measurer", "serialize"]

_LARGEST = 2**31 - 2**24
"""Bytes of constants; protobuf ends at 2 GiB, and the graph needs room too."""

_QUIET = 0.25
"""Quantile of the samples that counts: the less disturbed ones."""

_log = logging.getLogger(__name__)


def serialize(model: QuantizedModel) -> bytes:
    """The model as ONNX bytes.

    Raises:
        BackendError: its constants do not fit one protobuf.
    """
    graphs = model.model.graphs()
    tensors = (v.const_value for graph in graphs for v in graph.initializers.values())
    size = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    if size > _LARGEST:
        raise BackendError(
            f"the part has {size / 1e9:.1f} GB of constants, and an ONNX file holds 2 GB",
            fix="quantize its weights, or divide it over several targets",
        )
    return bytes(ir.to_proto(model.model).SerializeToString())


class Measurer:
    """Latencies in seconds on this machine.

    Args:
        threads: of the sessions that are measured.
        sizes: what symbolic dimensions are measured with.
        images: values that integer kernels keep channels-last.
        float8: the model has float8 codes.
    """

    def __init__(
        self, threads: int, sizes: Mapping[str, int], images: Collection[ir.Value], *, float8: bool = False
    ) -> None:
        self._threads = threads
        self._float8 = float8
        self._sizes = sizes
        self._images = images
        self._cache = open_cache()
        self._context = context(threads)

    def unit(self, unit: Unit) -> Mapping[str, float]:
        """Seconds of both kernels, conversions to and from codes included; empty where it cannot be measured."""
        images = [o.value for o in (*unit.inputs, *unit.outputs) if o is not None and o.value in self._images]
        signature = unit_signature(unit) + (CHANNELS_LAST if images else "")
        signature += "".join(f" {name}={size}" for name, size in self._sizes.items())
        return self._remembered(signature, lambda: self._both(unit, images))

    def transpose(self, value: ir.Value) -> float:
        """Seconds of the change of layout when one neighbour of `value` is integer and the other float."""
        shape = concrete(value.shape, self._sizes)
        if value not in self._images or shape is None:
            return 0.0
        signature = f"Transpose uint8 {list(shape)}{CHANNELS_LAST}"
        return self._remembered(signature, lambda: {"transpose": transpose_model(shape)}).get("transpose", 0.0)

    def whole(self, payloads: Mapping[str, bytes], *, budget: float) -> Mapping[str, float]:
        """Seconds of whole models that have the same inputs; empty where they cannot be run on made-up data."""
        try:
            sessions = {
                name: open_exact(payload, threads=self._threads, float8=self._float8)
                for name, payload in payloads.items()
            }
            feeds = feeds_for(next(iter(sessions.values())), self._sizes)
            runners = {name: _runner(session, feeds) for name, session in sessions.items()}
            return measure(runners, rounds=25, budget=budget, threads=self._threads, quantile=_QUIET)
        except Exception as error:  # made-up indices may be out of range, in any of ONNX Runtime's exceptions
            _log.info("not measured: %s", error)
            return {}

    def save(self) -> None:
        self._cache.save()

    def _both(self, unit: Unit, images: Collection[ir.Value]) -> dict[str, QuantizedModel]:
        integer = micro_model(unit, self._sizes, images)
        floating = micro_model(unit, self._sizes)
        if integer is None or floating is None:
            return {}
        lower(integer, {u.name for u in integer.units()})
        return {kernel_names(unit, normalized=True)[0]: integer, FLOAT32: floating}

    def _remembered(self, signature: str, build: Callable[[], Mapping[str, QuantizedModel]]) -> Mapping[str, float]:
        known = self._cache.get(self._context, signature)
        if not known:
            models = build()
            known = self._measure_apart({name: serialize(model) for name, model in models.items()})
            if known:
                self._cache.put(self._context, signature, known)
        return known

    def _measure_apart(self, payloads: Mapping[str, bytes]) -> Mapping[str, float]:
        """Like `whole`, for models that differ in their inputs' layout."""
        try:
            runners = {}
            for name, payload in payloads.items():
                session = open_exact(payload, threads=self._threads)
                runners[name] = _runner(session, feeds_for(session, {}))
            return measure(runners, rounds=9, budget=0.1, threads=self._threads, quantile=_QUIET)
        except Exception as error:  # as in `whole`
            _log.info("not measured: %s", error)
            return {}


def _runner(session: object, feeds: Mapping[str, object]) -> Callable[[], object]:
    run = session.run  # type: ignore[attr-defined]
    return lambda: run(None, feeds)
