"""The report as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.quantization.report.result import QuantizationReport

__all__ = ["page"]


def page(report: QuantizationReport) -> str:
    """The whole document."""
    return f"<!doctype html>{report.name}"
