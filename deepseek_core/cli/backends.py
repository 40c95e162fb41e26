"""`deepseek backends`: what is installed, what it can do here, and the command that mends what is missing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.hookspecs import HOOK_API
from deepseek_core.registry import BrokenBackend, discover
from deepseek_core.survey import BackendStatus, TargetStatus, survey

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["command"]


@click.command(name="backends")
@reporting
def command() -> Report:
    """List installed backends, their targets, and how to get what is missing."""
    registry = discover()
    found = survey(registry)
    data = {
        "hook_api": ".".join(map(str, HOOK_API)),
        "backends": [_backend_json(status) for status in found],
        "broken": [
            {"name": b.name, "distribution": b.distribution, "error": b.error, "fix": b.fix} for b in registry.broken
        ],
    }
    return Report(data, partial(_render, found, registry.broken))


def _backend_json(status: BackendStatus) -> dict[str, object]:
    info = status.backend.info
    return {
        "name": info.name,
        "version": info.version,
        "distribution": status.backend.distribution,
        "hook_api": ".".join(map(str, info.hook_api)),
        "summary": info.summary,
        "targets": [_target_json(target) for target in status.targets],
    }


def _target_json(status: TargetStatus) -> dict[str, object]:
    here = status.availability
    return {
        "target": str(status.target),
        "can_compile": here.can_compile,
        "can_run": here.can_run,
        "detail": here.detail,
        "missing": [{"what": m.what, "fix": m.fix} for m in here.missing],
    }


def _render(found: tuple[BackendStatus, ...], broken: tuple[BrokenBackend, ...], console: Console) -> None:
    if not (found or broken):
        console.print("no backends are installed; pip install deepseek-backend-cpu")
        return
    rows = table("backend", "version", "target", "compile", "run", "detail")
    for status in found:
        info = status.backend.info
        for index, target in enumerate(status.targets):
            here = target.availability
            name, version = (info.name, info.version) if index == 0 else ("", "")
            rows.add_row(name, version, str(target.target), _mark(here.can_compile), _mark(here.can_run), here.detail)
    if found:
        console.print(rows)
    for what, fix in _mends(found, broken):
        console.print(f"{what}\n  → {fix}")


def _mends(found: tuple[BackendStatus, ...], broken: tuple[BrokenBackend, ...]) -> list[tuple[str, str]]:
    """What is wrong and what mends it, once each, however many targets share it."""
    missing = [
        (f"{status.backend.name} lacks {m.what}", m.fix)
        for status in found
        for target in status.targets
        for m in target.availability.missing
    ]
    return [*dict.fromkeys(missing), *((f"{b.name} is broken: {b.error}", b.fix) for b in broken)]


def _mark(present: bool) -> str:
    return "yes" if present else "no"
