"""Options of commands that place a model: where it may run, what is minimised, and what must be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.options import assignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek_core.partition import Gates, OptimalSolver, Profile, Solver
    from deepseek_core.registry import Backend, Registry
    from deepseek_core.target import Target

__all__ = ["PRIORITY", "gates_of", "optimal_solver", "placement_options", "profile_of", "solver_of", "targets_of"]

PRIORITY = "priority"
OBJECTIVES = ("latency", "throughput", "additive", "energy")
SOLVERS = ("auto", "exact", "mincut", "fast", PRIORITY)
_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}

_Command = Callable[..., Any]


def _targets(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    return [target for target in text.split(",") if target.strip()]


def _shares(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`TARGET=0.9` or `TARGET=90%`."""
    found = {}
    for target, text in assignment(ctx, param, values).items():
        number = text.removesuffix("%")
        try:
            found[target] = float(number) / (100 if number != text else 1)
        except ValueError:
            raise click.BadParameter(f"'{text}' is not a share such as 0.9 or 90%", ctx, param) from None
    return found


def _sizes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """`TARGET=4MiB`."""
    found = {}
    for target, text in assignment(ctx, param, values).items():
        digits = text.rstrip("BbKkMmGgIi ")
        factor = _UNITS.get(text[len(digits) :].strip().upper())
        if factor is None or not digits.replace(".", "", 1).isdigit():
            raise click.BadParameter(f"'{text}' is not a size such as 4MiB or 65536", ctx, param)
        found[target] = int(float(digits) * factor)
    return found


_OPTIONS = (
    click.option(
        "--targets", required=True, metavar="A,B,…", callback=_targets, help="Where it may run, preferred first."
    ),
    click.option(
        "--pin", "pins", multiple=True, metavar="UNIT=TARGET", callback=assignment, help="Keep a unit on a target."
    ),
    click.option(
        "--objective", type=click.Choice(OBJECTIVES), default="latency", show_default=True, help="What to minimise."
    ),
    click.option("--solver", type=click.Choice(SOLVERS), default="auto", show_default=True, help="How to search."),
    click.option("--max-parts", type=click.IntRange(1), metavar="N", help="Fail rather than make more parts than N."),
    click.option(
        *("--min-coverage", "min_coverage"),
        multiple=True,
        metavar="TARGET=SHARE",
        callback=_shares,
        help="Fail when a target runs less than this share of the multiply-accumulates.",
    ),
    click.option(
        "--memory",
        multiple=True,
        metavar="TARGET=SIZE",
        callback=_sizes,
        help="Most constants a target holds, such as 4MiB.",
    ),
    click.option("--profile/--no-profile", default=True, show_default=True, help="Rest on `deepseek profile`."),
)


def placement_options(function: _Command) -> _Command:
    """The options; `solver_of`, `gates_of`, `targets_of` and `profile_of` take what they give."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def targets_of(chosen: dict[str, Any], registry: Registry) -> tuple[list[tuple[Backend, Target]], dict[str, Target]]:
    """Targets and pins."""
    targets = [registry.resolve(target) for target in chosen["targets"]]
    return targets, {unit: registry.resolve(target)[1] for unit, target in chosen["pins"].items()}


def optimal_solver(chosen: dict[str, Any], registry: Registry) -> OptimalSolver:
    """Objective, method and limits; of `priority` the objective and limits."""
    from deepseek_core.partition import Method, Objective, OptimalSolver

    memory = {registry.resolve(target)[1]: size for target, size in chosen["memory"].items()}
    method = Method.AUTO if chosen["solver"] == PRIORITY else Method(chosen["solver"])
    return OptimalSolver(Objective(chosen["objective"]), method, chosen["max_parts"], memory)


def solver_of(chosen: dict[str, Any], registry: Registry) -> Solver:
    """The solver that was chosen.

    Raises:
        ConfigError: a limit that this solver does not look at.
    """
    from deepseek_core.errors import ConfigError
    from deepseek_core.partition import PreferenceSolver

    if chosen["solver"] != PRIORITY:
        return optimal_solver(chosen, registry)
    if chosen["memory"]:
        raise ConfigError("the solver 'priority' looks at no memory", fix="take another solver, or pin units")
    return PreferenceSolver()


def gates_of(chosen: dict[str, Any], registry: Registry) -> Gates:
    """What the placement must reach.

    Raises:
        ConfigError: coverage is asked of a target that is not among the targets.
    """
    from deepseek_core.errors import ConfigError
    from deepseek_core.partition import Gates

    targets: Sequence[Target] = [target for _, target in targets_of(chosen, registry)[0]]
    coverage = {registry.resolve(target)[1]: share for target, share in chosen["min_coverage"].items()}
    stranger = next((target for target in coverage if target not in targets), None)
    if stranger is not None:
        raise ConfigError(f"coverage is asked of {stranger}, which is not among the targets", fix="add it to --targets")
    return Gates(chosen["max_parts"], coverage)


def profile_of(chosen: dict[str, Any], threads: int = 0) -> Profile:
    """What was measured, or nothing where the user does not want it."""
    from deepseek_core.partition import Profile

    return Profile.of_user(threads) if chosen["profile"] else Profile.empty()
