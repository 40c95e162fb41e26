"""The report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deepseek.quantization.report.figures import decibels, size

if TYPE_CHECKING:
    from deepseek.quantization.report.result import QuantizationReport

__all__ = ["text"]


def text(report: QuantizationReport) -> str:
    """Summary, notes, and one line for each layer."""
    return "\n".join((*_summary(report), "", *_layers(report)))


def _summary(report: QuantizationReport) -> Iterator[str]:
    ratio = report.float_bytes / report.bytes if report.bytes else 1.0
    yield (
        f"{report.name}: {report.quantized_layers} of {len(report.layers)} layers quantized for "
        f"{', '.join(report.targets)}, {size(report.float_bytes)} → {size(report.bytes)} (÷{ratio:.1f})"
    )
    outputs = ", ".join(f"{name} {decibels(sqnr, ' dB')}" for name, sqnr in report.outputs.items())
    yield f"outputs: {outputs or 'none in float'}; {report.agreement:.1%} agree with float; {report.samples} samples"
    if report.value is not None:
        yield f"evaluate: {report.reference:.6g} in float, {report.value:.6g} quantized"
    if report.shortfall is not None:
        yield f"budget missed: {report.shortfall}"
    yield from (f"note: {note}" for note in report.notes)


def _layers(report: QuantizationReport) -> Iterator[str]:
    head = ("layer", "op", "precision", "SQNR dB", "weight dB", "size")
    rows = [
        (
            layer.name,
            layer.op,
            layer.precision,
            decibels(layer.sqnr),
            decibels(layer.weight_sqnr),
            f"{size(layer.float_bytes)} → {size(layer.bytes)}" if layer.float_bytes else "",
        )
        for layer in report.layers
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    yield from (_line(row, widths) for row in (head, *rows))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip()
