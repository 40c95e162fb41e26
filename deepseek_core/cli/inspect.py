"""`deepseek inspect`: what is in a model or package, and whether it runs here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import dims, seconds, size, tensor_json, units_by_target
from deepseek_core.cli.options import FILE, key_bytes, public_key_option
from deepseek_core.cli.output import Report, reporting, table

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.package import Package, Verdict
    from deepseek_core.summary import Summary

__all__ = ["command"]


@click.command(name="inspect")
@click.argument("file", type=FILE)
@click.option("--units", is_flag=True, help="List every unit: its name is what --pin takes.")
@public_key_option
@reporting
def command(file: Path, units: bool, public_key: Path | None) -> Report:
    """Show what is in FILE, an ONNX model or a .ds package, and whether it runs here."""
    from deepseek_core.files import open_file
    from deepseek_core.package import verdict, verdicts
    from deepseek_core.registry import discover
    from deepseek_core.summary import summarize

    package = open_file(file, key_bytes(public_key))
    registry = discover()
    found = _Found(file, package, summarize(package.model), verdict(package, registry), verdicts(package, registry))
    return Report(_json(found), partial(_render, found, units))


@dataclass(frozen=True, slots=True)
class _Found:
    file: Path
    package: Package
    summary: Summary
    verdict: Verdict
    verdicts: tuple[Verdict, ...]

    @property
    def is_package(self) -> bool:
        return bool(self.package.manifest.members)

    def target_of(self, unit: str) -> str | None:
        """Where a unit of a compiled package runs."""
        placement = self.package.placement
        return None if placement is None else str(placement.units[unit])


def _json(found: _Found) -> dict[str, object]:
    return {
        "file": str(found.file),
        "bytes": found.file.stat().st_size,
        "model": _model_json(found.summary),
        "units": [
            {"name": unit.name, "op": unit.op, "quantized": unit.is_quantized, "target": found.target_of(unit.name)}
            for unit in found.package.model.units()
        ],
        "provenance": found.package.model.metadata,
        "package": _package_json(found.package, found.verdicts) if found.is_package else None,
        "verdict": _verdict_json(found.verdict) if found.is_package else None,
    }


def _model_json(summary: Summary) -> dict[str, object]:
    return {
        "inputs": [tensor_json(info) for info in summary.inputs],
        "outputs": [tensor_json(info) for info in summary.outputs],
        "opset": summary.opset,
        "units": summary.units,
        "quantized_units": summary.quantized_units,
        "ops": {op: asdict(count) for op, count in summary.ops.items()},
        "activations": dict(summary.activations),
        "weights": dict(summary.weights),
        "constants": summary.constants,
        "constant_bytes": summary.constant_bytes,
    }


def _package_json(package: Package, each: tuple[Verdict, ...]) -> dict[str, object]:
    manifest, placement = package.manifest, package.placement
    parts = placement.parts if placement is not None else ()
    return {
        "schema": manifest.schema,
        "core": manifest.core,
        "hook_api": ".".join(map(str, manifest.hook_api)),
        "signature": manifest.signature,
        "members": {name: {"bytes": m.size, "sha256": m.sha256} for name, m in manifest.members.items()},
        "artifacts": [
            {
                "target": str(artifact.target),
                "units": list(units),
                "format": artifact.format,
                "bytes": len(artifact.payload),
                "sha256": artifact.sha256,
                "toolchain": dict(artifact.toolchain),
                "requires": list(artifact.requires),
                "report": dict(artifact.report),
                "verdict": _verdict_json(found),
            }
            for units, artifact, found in zip(parts, package.artifacts, each, strict=True)
        ],
    }


def _verdict_json(found: Verdict) -> dict[str, str]:
    return {"action": str(found.action), "reason": found.reason, "fix": found.fix}


def _render(found: _Found, units: bool, console: Console) -> None:
    summary = found.summary
    console.print(f"{found.file}  {size(found.file.stat().st_size)}, opset {summary.opset}")
    for kind, infos in (("input", summary.inputs), ("output", summary.outputs)):
        for info in infos:
            console.print(f"  {kind:<7} {info.name}  {info.dtype}{dims(info.shape)}")
    console.print(f"  units   {summary.units}, {summary.quantized_units} of them quantized")
    console.print(f"  stored  {summary.constants:,} constants in {size(summary.constant_bytes)}")
    _render_counts(summary, console)
    if units:
        _render_units(found, console)
    for name, value in found.package.model.metadata.items():
        console.print(f"  {name}: {_short(value)}")
    if found.is_package:
        _render_package(found.package, found.verdicts, console)
        console.print(f"verdict: {found.verdict.action}: {found.verdict.reason}")
        if found.verdict.fix:
            console.print(f"  → {found.verdict.fix}")


def _render_counts(summary: Summary, console: Console) -> None:
    ops = table("op", ">units", ">quantized")
    for op, count in summary.ops.items():
        ops.add_row(op, str(count.total), str(count.quantized or "–"))
    console.print(ops)
    types = table("tensors", "type", ">number")
    for kind, counts in (("activations", summary.activations), ("weights", summary.weights)):
        for name, number in counts.items():
            types.add_row(kind, name, str(number))
    console.print(types)


def _render_units(found: _Found, console: Console) -> None:
    from deepseek_core.partition.types import describe

    rows = table("unit", "op", "outputs", "target")
    for unit in found.package.model.units():
        outputs = ", ".join(describe(operand) for operand in unit.outputs)
        rows.add_row(unit.name, unit.op, outputs, found.target_of(unit.name) or "–")
    console.print(rows)


def _render_package(package: Package, each: tuple[Verdict, ...], console: Console) -> None:
    manifest = package.manifest
    console.print(f"package schema {manifest.schema}, core {manifest.core}, signature {manifest.signature}")
    if package.placement is None:
        return
    cost = package.placement.cost
    shares = ", ".join(f"{number} on {target}" for target, number in units_by_target(package.placement).items())
    console.print(f"placed: {shares}; predicted {seconds(cost.seconds)} ({cost.basis})")
    rows = table("part", "target", ">units", "format", ">size", "toolchain", "verdict")
    for number, (units, artifact, found) in enumerate(
        zip(package.placement.parts, package.artifacts, each, strict=True)
    ):
        tools = ", ".join(f"{name} {version}" for name, version in artifact.toolchain.items())
        row = (str(number), str(artifact.target), str(len(units)), artifact.format, size(len(artifact.payload)), tools)
        rows.add_row(*row, f"{found.action}: {found.reason}")
    console.print(rows)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else f"{text[:89]}…"
