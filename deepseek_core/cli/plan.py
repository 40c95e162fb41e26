"""`deepseek plan`: where every unit would run, why, and what that costs; as tables, JSON and pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.options import FILE
from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.cli.placing import (
    gates_of,
    optimal_solver,
    placement_options,
    profile_of,
    solver_of,
    targets_of,
)
from deepseek_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.cost import Cost
    from deepseek_core.plan import Option, Plan, UnitPlan

__all__ = ["command"]

FEW_UNITS = 40


@click.command(name="plan")
@click.argument("file", type=FILE)
@placement_options
@click.option("--units", is_flag=True, help=f"List every unit; models of up to {FEW_UNITS} are listed anyway.")
@click.option("--html", type=FILE, metavar="F", help="Write a page with pictures.")
@click.option("--svg", type=FILE, metavar="F", help="Write the graph as a picture.")
@reporting
def command(file: Path, units: bool, html: Path | None, svg: Path | None, **chosen: Any) -> Report:
    """Place FILE, a model or .ds package, and explain the placement; nothing is compiled."""
    from deepseek_core.atomic import check_writable
    from deepseek_core.files import open_file
    from deepseek_core.partition import propose, settle
    from deepseek_core.plan import explain, write_page, write_picture
    from deepseek_core.registry import discover

    for path in filter(None, (html, svg)):
        check_writable(path)
    registry = discover()
    targets, pins = targets_of(chosen, registry)
    gates, solver = gates_of(chosen, registry), solver_of(chosen, registry)
    model = open_file(file).model
    with progress_bar() as progress:
        problem = propose(model, targets, pins, profile=profile_of(chosen))
        placement = settle(problem, solver)
        own = optimal_solver(chosen, registry)
        plan = explain(file.name, problem, placement, own, gates=gates, progress=progress)
    if html is not None:
        write_page(plan, html)
    if svg is not None:
        write_picture(plan, svg)
    written = [str(path) for path in (html, svg) if path is not None]
    shown = units or len(plan.units) <= FEW_UNITS
    return Report(_json(plan, written), partial(_render, plan, shown, written), exit_code=1 if plan.unmet else 0)


def _json(plan: Plan, written: list[str]) -> dict[str, object]:
    return {
        "model": plan.model,
        "objective": plan.objective,
        "value": plan.value,
        "bound": plan.bound,
        "gap": plan.gap,
        "proof": plan.proof,
        "method": plan.method,
        "basis": plan.basis,
        "latency": plan.latency,
        "units": [_unit_json(unit) for unit in plan.units],
        "parts": [
            {
                "target": str(part.target),
                "units": list(part.units),
                "start": part.start,
                "end": part.end,
                "launch": part.launch,
            }
            for part in plan.parts
        ],
        "transfers": [
            {
                "tensor": t.tensor,
                "bytes": t.bytes,
                "from_part": t.source,
                "to_part": t.to,
                "start": t.start,
                "cost": _cost_json(t.cost),
            }
            for t in plan.transfers
        ],
        "targets": [
            {
                "target": str(t.target),
                "units": t.units,
                "parts": t.parts,
                "coverage": t.share,
                "work": t.work,
                "launches": t.launches,
                "constants": t.constants,
                "memory": t.memory,
                "can_compile": t.here.can_compile,
                "can_run": t.here.can_run,
                "missing": [{"what": m.what, "fix": m.fix} for m in t.here.missing],
            }
            for t in plan.targets
        ],
        "refusals": [
            {"target": str(r.target), "unit": r.unit, "reason": r.reason, "change": r.change or None}
            for r in plan.placement.refusals
        ],
        "alternatives": [
            {"name": a.name, "value": a.value, "parts": a.parts, "note": a.note} for a in plan.alternatives
        ],
        "unmet": list(plan.unmet),
        "written": written,
    }


def _unit_json(unit: UnitPlan) -> dict[str, object]:
    return {
        "name": unit.name,
        "op": unit.op,
        "target": str(unit.target),
        "part": unit.part,
        "share": unit.share,
        "cost": _cost_json(unit.cost),
        "why": unit.why,
        "options": [_option_json(option) for option in unit.options],
    }


def _option_json(option: Option) -> dict[str, object]:
    return {
        "target": str(option.target),
        "cost": None if option.cost is None else _cost_json(option.cost),
        "reason": option.reason or None,
        "change": option.change or None,
        "delta": option.delta,
        "limit": option.limit or None,
    }


def _cost_json(cost: Cost) -> dict[str, object]:
    return {"seconds": cost.seconds, "bytes": cost.bytes, "joules": cost.joules, "basis": cost.basis}


def _render(plan: Plan, units: bool, written: list[str], console: Console) -> None:
    from deepseek_core.plan.words import headline, verdict

    console.print(f"{plan.model}: {headline(plan)} ({plan.basis})\n{verdict(plan)}")
    _render_targets(plan, console)
    _render_parts(plan, console)
    if units:
        _render_units(plan, console)
    else:
        console.print(f"{len(plan.units)} units; --units lists them, with why each is where it is")
    _render_alternatives(plan, console)
    _render_refusals(plan, console)
    for sentence in plan.unmet:
        console.print(f"gate not passed: {sentence}")
    for path in written:
        console.print(f"wrote {path}")


def _render_targets(plan: Plan, console: Console) -> None:
    from deepseek_core.plan.words import amount, percent, size

    rows = table("target", ">units", ">parts", ">work", ">busy", ">constants", "here")
    for t in plan.targets:
        missing = "; ".join(f"no {m.what}: {m.fix}" for m in t.here.missing)
        state = "can run" if t.here.can_run else f"cannot run ({missing})" if missing else "cannot run"
        limit = "" if t.memory is None else f" of {size(t.memory)}"
        figures = (percent(t.share), amount(t.work + t.launches), size(t.constants) + limit)
        rows.add_row(str(t.target), str(t.units), str(t.parts), *figures, state)
    console.print(rows)


def _render_parts(plan: Plan, console: Console) -> None:
    from deepseek_core.plan.words import amount, listed, size

    rows = table("part", "target", ">units", ">starts", ">takes", "first units", "receives")
    for part in plan.parts:
        moves = [f"{size(t.bytes)} in {amount(t.cost.seconds)}" for t in plan.transfers if t.to == part.number]
        figures = (str(len(part.units)), amount(part.start), amount(part.end - part.start))
        rows.add_row(str(part.number), str(part.target), *figures, listed(part.units, 2), listed(moves, 2))
    console.print(rows)


def _render_units(plan: Plan, console: Console) -> None:
    from deepseek_core.plan.words import amount

    rows = table("unit", "op", "target", ">part", ">cost", "why")
    for unit in plan.units:
        rows.add_row(unit.name, unit.op, str(unit.target), str(unit.part), amount(unit.cost.seconds), unit.why)
    console.print(rows)


def _render_alternatives(plan: Plan, console: Console) -> None:
    from deepseek_core.plan.words import amount

    unit = "J" if plan.objective == "energy" else "s"
    rows = table("placement", f">{plan.objective}", ">parts", "")
    if plan.bound is not None:
        rows.add_row("lower bound", amount(plan.bound, unit), "–", plan.proof)
    for other in plan.alternatives:
        value = ("–", "–") if other.value is None else (amount(other.value, unit), str(other.parts))
        rows.add_row(other.name, *value, other.note)
    console.print(rows)


def _render_refusals(plan: Plan, console: Console) -> None:
    from deepseek_core.plan.words import listed

    if not plan.refusals:
        return
    rows = table("refused by", ">units", "which", "reason", "what would change it")
    for group in sorted(plan.refusals, key=lambda group: -len(group.units)):
        change = group.change or "the backend does not say"
        rows.add_row(str(group.target), str(len(group.units)), listed(group.units), group.reason, change)
    console.print(rows)
