"""Exit codes: a user's mistake is one line on stderr, an interruption is quiet, a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence

import click

from deepseek_core.errors import DeepseekError

__all__ = ["guarded", "run_command"]

INTERRUPTED, BROKEN_PIPE = 130, 141
_FIXES = {
    errno.ENOENT: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "check the path: one of its folders is a file",
    errno.EACCES: "check the permissions, or choose another place",
    errno.EPERM: "check the permissions, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some space, or choose another place",
    errno.EFBIG: "free some space, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "check the path for links that point at each other",
}
"""The system's errors that are a user's to mend."""


def run_command(command: click.Command, name: str, args: Sequence[str] | None) -> int:
    """Run a console script's command, and what it returns: the exit code of `--help` and the like, or a report.

    Args:
        name: of the script, for usage lines.
        args: arguments without the program's name, default `sys.argv[1:]`.

    Returns:
        See `guarded`.
    """

    def action() -> object:
        result = command.main(args, prog_name=name, standalone_mode=False)
        return result() if callable(result) else result

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # paths may not be UTF-8
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        return guarded(action)


def guarded(action: Callable[[], object]) -> int:
    """Run `action` and turn what it returns or raises into an exit code.

    Returns:
        The code `action` returned when it is an int, 0 for anything else it returned.
    """
    try:
        result = action()
        sys.stdout.flush()
    except DeepseekError as error:
        return _fail(str(error), error.exit_code)
    except click.ClickException as error:
        return _fail(f"{_sentence(error)}; see '{_command_path(error)} --help'", DeepseekError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in _FIXES:
            raise
        return _fail(f"{_place(error)}: {error.strerror}; {_FIXES[error.errno]}", DeepseekError.exit_code)
    return result if isinstance(result, int) else 0


def _fail(line: str, code: int) -> int:
    print("error:", " ".join(line.split()), file=sys.stderr)
    return code


def _sentence(error: click.ClickException) -> str:
    return error.format_message().rstrip(".").replace("\n", " ")


def _command_path(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return context.command_path if context is not None else "deepseek"


def _place(error: OSError) -> str:
    """The file an error is about; stdout where it names none."""
    if error.filename is None:
        _silence_stdout()
        return "standard output"
    return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)


def _silence_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes stdout on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
