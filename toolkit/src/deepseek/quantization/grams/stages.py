"""Cut a network into stages whose sites are decided together, at places where few values cross."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx_ir as ir

from deepseek.quantization.grams.sites import Site
from deepseek_core import Unit
from deepseek_core.ir import subgraphs

__all__ = ["Stage", "plan"]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Consecutive units.

    Attributes:
        sites: decided together, each with what earlier stages really make.
        live: values that exist before the stage and are read in it or later.
        left: values that exist behind the stage and are read later.
    """

    sites: tuple[Site, ...]
    live: tuple[str, ...]
    left: tuple[str, ...]


def plan(units: Sequence[Unit], sites: Sequence[Site], most: int) -> list[Stage]:
    """Stages that cover every site.

    Args:
        units: of the main graph in topological order.
        sites: in the same order.
        most: stages; 0 for as many as it takes for no site to depend on another one of its stage.
    """
    order = {unit.name: number for number, unit in enumerate(units)}
    groups = _independent(units, sites)
    if most and len(groups) > most:
        groups = _merged(groups, most)
    starts = [order[group[0].unit.name] for group in groups]
    live = [_live(units, start) for start in (*starts, len(units))]
    return [Stage(tuple(group), live[i], live[i + 1]) for i, group in enumerate(groups)]


def _independent(units: Sequence[Unit], sites: Sequence[Site]) -> list[list[Site]]:
    """Runs of sites such that none depends on another one in its run."""
    at = {site.unit.name: site for site in sites}
    groups: list[list[Site]] = []
    tainted: set[str] = set()
    for unit in units:
        depends = any(name in tainted for name in _read(unit))
        site = at.get(unit.name)
        if site is not None and (depends or not groups):
            groups.append([])
            tainted, depends = set(), False
        if site is not None:
            groups[-1].append(site)
        if site is not None or depends:
            tainted |= _made(unit)
    return groups


def _merged(groups: list[list[Site]], most: int) -> list[list[Site]]:
    """As many neighbours together as it takes, evenly by number."""
    bounds = [round(i * len(groups) / most) for i in range(most + 1)]
    return [[site for group in groups[a:b] for site in group] for a, b in pairwise(bounds)]


def _live(units: Sequence[Unit], start: int) -> tuple[str, ...]:
    """Values from before unit `start` (or fed) that it or a later unit reads."""
    made = set().union(*(_made(unit) for unit in units[start:]))
    read = dict.fromkeys(name for unit in units[start:] for name in _read(unit))
    return tuple(name for name in read if name not in made)


def _made(unit: Unit) -> set[str]:
    return {value.name or "" for node in unit.nodes for value in node.outputs}


def _read(unit: Unit) -> Iterator[str]:
    """Names of what a unit reads and does not make itself, constants left out; bodies may read from around them."""
    made = _made(unit)
    for node in unit.nodes:
        for value in _inputs(node):
            if value.const_value is None and (value.name or "") not in made:
                yield value.name or ""


def _inputs(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in subgraphs(node):
        inner = {value for inside in body for value in inside.outputs} | set(body.inputs)
        for inside in body:
            yield from (value for value in _inputs(inside) if value not in inner)
        yield from (value for value in body.outputs if value is not None and value not in inner)
