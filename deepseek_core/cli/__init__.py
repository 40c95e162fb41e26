"""The command line `deepseek`: parsing and printing only; whatever it prints is computed by the core."""

from __future__ import annotations

from deepseek_core.cli.app import main

__all__ = ["main"]
