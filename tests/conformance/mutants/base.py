"""The reference backend over a small table, with places where a mutant puts its mistake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import (
    Artifact,
    Availability,
    Backend,
    BackendInfo,
    Capabilities,
    CompileOptions,
    DType,
    Executable,
    Granularity,
    Limit,
    OpRule,
    QuantizedModel,
    QuantScheme,
    Target,
    hookimpl,
)
from deepseek_core.ir import TensorInfo
from deepseek_core.reference import plugin as reference
from deepseek_core.target import Tier

TARGET = Target("reference", "numpy")

Arrays = Mapping[str, NDArray[Any]]

U8, S8 = QuantScheme(DType.UINT8), QuantScheme(DType.INT8)
TENSOR = QuantScheme(DType.INT8, symmetric=True)
CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
NIBBLES = QuantScheme(DType.INT4, symmetric=True)
BLOCKS = QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, block_size=4)
FLOAT8 = QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)
F32 = DType.FLOAT32

_FUSED = ("Relu", "Clip")
_MOVES = ("MaxPool", "Transpose", "Slice", "Split", "DepthToSpace", "Reshape", "Gather")
_FUNCTIONS = ("Add", "Concat", "AveragePool", "Softmax", "LeakyRelu", "ReduceMean", "Sub")

TABLE = Capabilities(
    TARGET,
    (
        OpRule("Conv", U8, U8, CHANNEL, DType.INT32, _FUSED, (Limit("attr:strides", maximum=3, default=1),)),
        OpRule("Conv", S8, S8, TENSOR, DType.INT32, _FUSED),
        OpRule("ConvTranspose", U8, U8, CHANNEL, DType.INT32),
        OpRule("Gemm", U8, U8, CHANNEL, DType.INT32, _FUSED),
        OpRule("MatMul", U8, U8, TENSOR),
        OpRule("MatMul", F32, F32, BLOCKS),
        OpRule("Gemm", F32, F32, NIBBLES, F32),
        OpRule("Conv", FLOAT8, FLOAT8, FLOAT8, F32),
        *(OpRule(op, U8, U8) for op in (*_FUNCTIONS, *_MOVES)),
    ),
    control_flow=True,
    dynamic_shapes=True,
)
"""Small enough to run in seconds; one row for every way to be wrong that the mutants know."""


class Faithful:
    """A plugin that does everything right; mutants override one method."""

    def __init__(self) -> None:
        self.table = TABLE

    def edit(self, model: ir.Model) -> None:
        """Change the model before it is compiled."""

    def numerics(self) -> AbstractContextManager[object]:
        """What holds while an executable runs."""
        return ExitStack()

    def opened(self, executable: Executable, artifact: Artifact) -> Executable:
        """Change what was loaded."""
        return executable

    @hookimpl
    def deepseek_backend(self) -> BackendInfo:
        return reference.deepseek_backend()

    @hookimpl
    def deepseek_capabilities(self, target: Target) -> Capabilities:
        return replace(self.table, target=target)

    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return reference.deepseek_probe(target)

    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        copy = model.clone()
        self.edit(copy.model)
        return reference.deepseek_compile(copy, target, options)

    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        executable = Running(reference.deepseek_load(artifact, device), self.numerics)
        return self.opened(executable, artifact)


_LOCK = threading.RLock()


class Running:
    """An executable that delegates; `numerics` holds while it runs."""

    def __init__(self, inner: Executable, numerics: Callable[[], AbstractContextManager[object]] = ExitStack) -> None:
        self.inner = inner
        self.numerics = numerics

    @property
    def tier(self) -> Tier:
        return self.inner.tier

    @property
    def device(self) -> str:
        return self.inner.device

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self.inner.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self.inner.outputs

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        with _LOCK, self.numerics():
            return self.inner.run(feeds)

    def close(self) -> None:
        self.inner.close()


@dataclass(frozen=True)
class Mutant:
    """A wrong backend.

    Attributes:
        pattern: cases among which one must catch it; narrow, so that each is caught for the right reason.
        build: gives the backend.
        is_numeric: it computes something else, and keeps the contract.
    """

    name: str
    pattern: str
    build: Callable[[], Backend]
    is_numeric: bool = False


MUTANTS: list[Mutant] = []


def mutant(pattern: str, *, is_numeric: bool = False) -> Callable[[type[Faithful]], type[Faithful]]:
    """Register a plugin class under its own name."""

    def add(plugin: type[Faithful]) -> type[Faithful]:
        MUTANTS.append(Mutant(plugin.__name__, pattern, lambda: Backend(plugin(), "mutant"), is_numeric))
        return plugin

    return add


@contextmanager
def patched(target: str, replacement: object) -> Iterator[None]:
    """Replace a name of the reference's modules."""
    with mock.patch(f"deepseek_core.reference.{target}", replacement):
        yield


def numeric(name: str, pattern: str, context: Callable[[], AbstractContextManager[object]]) -> None:
    """Register a mutant that computes otherwise."""

    class Plugin(Faithful):
        def numerics(self) -> AbstractContextManager[object]:
            return context()

    Plugin.__name__ = name
    mutant(pattern, is_numeric=True)(Plugin)


def edited(name: str, pattern: str, edit: Callable[[ir.Model], None]) -> None:
    """Register a mutant that compiles another graph than it was given."""

    class Plugin(Faithful):
        def edit(self, model: ir.Model) -> None:
            edit(model)

    Plugin.__name__ = name
    mutant(pattern, is_numeric=True)(Plugin)
