"""DeepSeek core: a quantized-model IR, the hook contract of hardware backends, and the flow between them.

Public names load on first use, so that importing the package stays fast and free of heavy libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_PUBLIC: dict[str, str] = {
    "Artifact": "artifact",
    "Availability": "target",
    "Backend": "registry",
    "BackendInfo": "hookspecs",
    "BrokenBackend": "registry",
    "Capabilities": "target",
    "CompileOptions": "options",
    "Cost": "cost",
    "DType": "scheme",
    "DeepseekError": "errors",
    "Executable": "executable",
    "Expectations": "expectations",
    "Granularity": "scheme",
    "Limit": "target",
    "Missing": "target",
    "OpRule": "target",
    "QParams": "ir",
    "QuantScheme": "scheme",
    "QuantizedModel": "ir",
    "Recipe": "recipe",
    "Target": "target",
    "Tier": "target",
    "Tolerance": "expectations",
    "Unit": "ir",
    "discover": "registry",
    "hookimpl": "hookspecs",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'deepseek_core' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"deepseek_core.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
