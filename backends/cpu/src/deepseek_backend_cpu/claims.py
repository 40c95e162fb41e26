"""Claims: what the capability table accepts, less the ops that ONNX Runtime has no kernel for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from deepseek_backend_cpu.capabilities import capabilities
from deepseek_backend_cpu.host import runtime_version
from deepseek_backend_cpu.session import PROVIDER, import_runtime
from deepseek_core import Claim, QuantizedModel, Target, Unit
from deepseek_core.ir import subgraphs
from deepseek_core.partition import claim_each, refusal_reason

__all__ = ["claim"]


def claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> list[Claim]:
    """A claim on each unit that runs, a reason for each that does not."""
    table = capabilities(target)
    return claim_each(model, target, refuse, lambda unit: refusal_reason(unit, table) or _missing_kernel(unit.nodes))


def _missing_kernel(nodes: tuple[ir.Node, ...]) -> str | None:
    """Why ONNX Runtime cannot run one of the nodes or of the nodes in their bodies; None when it can."""
    kernels = _kernels()
    for node in nodes:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if kernels and (domain, node.op_type) not in kernels and not _is_function(domain, node.op_type):
            name = f"{domain}::{node.op_type}" if domain else node.op_type
            return f"ONNX Runtime {runtime_version()} has no CPU kernel for {name}"
        for body in subgraphs(node):
            reason = _missing_kernel(tuple(body))
            if reason is not None:
                return reason
    return None


@functools.cache
def _kernels() -> frozenset[tuple[str, str]]:
    """(domain, op) of every CPU kernel; empty, so that nothing is refused, where the runtime does not tell."""
    if runtime_version() is None:
        return frozenset()
    list_kernels = getattr(import_runtime().capi.onnxruntime_pybind11_state, "get_all_opkernel_def", None)
    if list_kernels is None:
        return frozenset()
    return frozenset((k.domain, k.op_name) for k in list_kernels() if k.provider == PROVIDER)


def _is_function(domain: str, op: str) -> bool:
    """Whether the op is defined by other ops, which ONNX Runtime then runs."""
    import onnx

    try:
        schema: Any = onnx.defs.get_schema(op, domain)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)
