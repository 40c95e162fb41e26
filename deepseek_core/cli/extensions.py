"""Commands that other distributions bring, as entry points of group `deepseek.commands`.

The name of an entry is the command's, and may be that of a built-in one, which it then replaces. What it names is a
`click.Command`; it is imported when the command is called or listed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Mapping

import click

__all__ = ["ENTRY_POINT_GROUP", "extension", "extensions"]

ENTRY_POINT_GROUP = "deepseek.commands"


@functools.cache
def extensions() -> Mapping[str, importlib.metadata.EntryPoint]:
    """Installed entries by name; of two with one name, that of the distribution that sorts first."""
    found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    return {entry.name: entry for entry in sorted(found, key=_distribution, reverse=True)}


@functools.cache
def extension(name: str) -> click.Command | None:
    """An installed command; None where there is none, or where it is broken, which is told on stderr once."""
    entry = extensions().get(name)
    if entry is None:
        return None
    try:
        command = entry.load()
    except (Exception, SystemExit) as error:  # an extension may fail in any way; it must not take others down
        _warn(entry, f"{type(error).__name__}: {error}")
        return None
    if not isinstance(command, click.Command):
        _warn(entry, f"'{entry.value}' is no click command")
        return None
    return command


def _warn(entry: importlib.metadata.EntryPoint, why: str) -> None:
    line = " ".join(why.split())
    owner = _distribution(entry)
    fix = f"pip install --force-reinstall {owner}" if owner else "reinstall what brings it"
    print(f"warning: command '{entry.name}' of {owner or 'an extension'} is broken: {line}; {fix}", file=sys.stderr)


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else ""
