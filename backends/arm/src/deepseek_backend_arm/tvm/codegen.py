"""TIR functions → an AArch64 object of plain C functions over pointers. Runs in TVM's process.

TVM's own calling convention wants its runtime: packed arguments, checked one by one, and workspaces that the runtime
allocates. None of it is needed where shapes are fixed. Each function gets the pointers of its buffers as parameters
instead, and the buffers that it would allocate for itself as further ones, so that all memory is planned by the caller.
"""

from __future__ import annotations

import tempfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import s_tir, tirx
from tvm.s_tir.pipeline import default_s_tir_pipeline

from deepseek_backend_arm.tvm.serial import block_with, serial

__all__ = ["TARGET", "build_object", "plain", "workspaces"]

TARGET = tvm.target.Target({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "generic", "mattr": ["+neon"]})
"""The least of all targets, since an image is for every CPU."""
_ON_STACK = 1024
"""Bytes of a buffer that may stay a function's own."""


def workspaces(function: Any) -> list[Any]:
    """Buffers of a function that do not go on its stack: large ones, and those of no size."""
    return [buffer for buffer in function.body.block.alloc_buffers if not 0 < _bytes(buffer) <= _ON_STACK]


def plain(function: Any) -> Any:
    """The function with a pointer for each of its buffers, workspaces behind its arguments."""
    extra = workspaces(function)
    buffers = [*function.params, *extra]
    pointers = [tirx.Var(f"p{i}", tvm.ir.PointerType(_element(buffer))) for i, buffer in enumerate(buffers)]
    offsets = {buffer.elem_offset for buffer in buffers if isinstance(buffer.elem_offset, tirx.Var)}
    binds = [tirx.Bind(offset, tirx.IntImm(str(offset.ty.dtype), 0)) for offset in offsets]
    views = [tirx.DeclBuffer(buffer, data=pointer) for buffer, pointer in zip(buffers, pointers, strict=True)]
    body = tirx.SeqStmt([*binds, *views, _without(function.body, extra)])
    return tirx.PrimFunc(pointers, body, ret_type=function.ret_type, attrs=function.attrs)


def build_object(functions: dict[str, Any]) -> bytes:
    """An object with plain functions under their symbols."""
    module = tvm.IRModule({tvm.ir.GlobalVar(name): function for name, function in functions.items()})
    passes, finish, _ = default_s_tir_pipeline()
    module = passes(tirx.transform.BindTarget(TARGET.with_host(TARGET))(module))
    named = {var: f.with_attr("global_symbol", var.name_hint) for var, f in module.functions.items()}
    built = tvm.get_global_func("target.build.llvm")(finish()(tvm.IRModule(named)), TARGET)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unit.o"
        built.write_to_file(str(path), "o")
        return path.read_bytes()


def _without(realize: Any, buffers: list[Any]) -> Any:
    block = realize.block
    kept = [buffer for buffer in block.alloc_buffers if not any(buffer.same_as(other) for other in buffers)]
    block = block_with(block, alloc_buffers=kept, body=serial(block.body))
    return s_tir.SBlockRealize(realize.iter_values, realize.predicate, block)


def _element(buffer: Any) -> Any:
    return tvm.ir.PrimType(str(buffer.dtype))


def _bytes(buffer: Any) -> int:
    return int(np.dtype(str(buffer.dtype)).itemsize) * prod(int(size) for size in buffer.shape)
