"""The command group. Each sub-command lives in a module of its own, imported when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from deepseek_core import __version__
from deepseek_core.cli.extensions import extension, extensions
from deepseek_core.cli.guard import run_command

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = ("backends", "inspect", "quantize", "plan", "profile", "compile", "run", "bench", "diff", "conformance")


class _LazyGroup(click.Group):
    """A group that imports `deepseek_core.cli.<name>` for command `<name>`, unless an extension brings it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys((*COMMANDS, *sorted(extensions()))))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = extension(cmd_name)
        if found is not None or cmd_name not in COMMANDS:
            return found
        command: click.Command = importlib.import_module(f"deepseek_core.cli.{cmd_name}").command
        return command


@click.group(cls=_LazyGroup, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="deepseek", message="%(prog)s %(version)s")
def app() -> None:
    """Quantize neural networks, place them on the hardware you have, and prove that they are right."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: arguments without the program's name, default `sys.argv[1:]`.

    Returns:
        Exit code: 0 done; 1 the command's own "no" (cases failed, models diverge); 2 a user's mistake, told in
        one line on stderr; 3 done, but short of what was asked (an accuracy budget); 130 interrupted; 141 the reader
        of stdout went away.
    """
    return run_command(app, "deepseek", args)
