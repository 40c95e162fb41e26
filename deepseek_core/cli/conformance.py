"""`deepseek conformance`: does a backend do what it declares?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from deepseek_core.cli.options import FILE
from deepseek_core.cli.output import Report, reporting
from deepseek_core.cli.progress import progress_bar

__all__ = ["command"]


@click.command(name="conformance")
@click.argument("name")
@click.option("--target", metavar="T", help="One of its targets.  [default: the first]")
@click.option("--pattern", default="*", show_default=True, metavar="P", help="Only cases whose id matches.")
@click.option("--junit", type=FILE, metavar="F", help="Write a JUnit report.")
@click.option("--html", type=FILE, metavar="F", help="Write an HTML page.")
@reporting
def command(name: str, target: str | None, pattern: str, junit: Path | None, html: Path | None) -> Report:
    """Test backend NAME against its own capability table and expectations."""
    from deepseek_core.atomic import check_writable
    from deepseek_core.conformance import render, run, write_html, write_junit
    from deepseek_core.errors import ConfigError
    from deepseek_core.registry import discover

    backend, resolved = discover().resolve(_qualified(name, target))
    for path in filter(None, (junit, html)):
        check_writable(path)
    with progress_bar() as progress:
        report = run(backend, resolved, pattern, progress)
    if not report.results:
        raise ConfigError(f"no conformance case of {resolved} matches '{pattern}'", fix="try --pattern '*Conv*'")
    if junit is not None:
        write_junit(report, junit)
    if html is not None:
        write_html(report, html)
    return Report(report.to_json(), partial(render, report), exit_code=0 if report.conforms else 1, markup=True)


def _qualified(name: str, target: str | None) -> str:
    """`echo` and `v1`, or `echo` and `echo:v1`, as a target."""
    if target is None:
        return name
    return target if ":" in target else f"{name}:{target}"
