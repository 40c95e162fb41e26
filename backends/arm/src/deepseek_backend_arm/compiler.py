"""Compile a part: lower it to a program that the runtime runs."""

from __future__ import annotations

from deepseek_backend_arm import __version__
from deepseek_backend_arm.capabilities import capabilities
from deepseek_backend_arm.container import FORMAT, Container
from deepseek_backend_arm.lowering import lower
from deepseek_backend_arm.lowering.limits import problem
from deepseek_backend_arm.plan.program import Program
from deepseek_backend_arm.settings import Settings
from deepseek_backend_arm.targets import LEVELS, cpu_of
from deepseek_backend_arm.tvm.presence import PACKAGE, tvm_version
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target
from deepseek_core.errors import BackendError
from deepseek_core.partition import refusal_reason

__all__ = ["compile_model", "compilers", "plan"]


def compile_model(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """An artifact with the part's program. Needs no toolchain: what runs it does.

    Raises:
        ConfigError: an unknown option.
        BackendError: a unit that the target does not run, or taps are asked for.
    """
    settings = Settings.read(options)
    program = plan(model, target, options)
    container = Container.of(program, target.device, LEVELS.index(cpu_of(target).level), settings.threads)
    toolchain = {"deepseek-backend-arm": __version__, **compilers(program)}
    return Artifact(target, container.encode(), FORMAT, toolchain, report=program.report)


def compilers(program: Program) -> dict[str, str]:
    """Versions of what compiled units of a program beside this backend."""
    found = tvm_version()
    return {PACKAGE: found} if program.linked.units and found is not None else {}


def plan(model: QuantizedModel, target: Target, options: CompileOptions) -> Program:
    """The program of a part; the model is left unchanged.

    Raises:
        BackendError: units that the target does not run, all of them, or taps are asked for.
    """
    if options.taps:
        raise BackendError("kernels of the arm backend give no values from inside", fix="tap them on the cpu backend")
    table = capabilities(target)
    units, refused = model.units(), []
    for position, unit in enumerate(units):
        options.progress("arm: checking units", position / len(units))
        reason = refusal_reason(unit, table) or problem(unit)
        refused += [] if reason is None else [f"'{unit.name}': {reason}"]
    if refused:
        raise BackendError(f"{target} does not run {'; '.join(refused)}", fix="place them on another target")
    return lower(model, options)
