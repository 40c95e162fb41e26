"""Discovery of backends, one plugin manager each, and the typed face callers use instead of pluggy."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from deepseek_core import hookspecs
from deepseek_core.errors import BackendError, DeepseekError, PackageError, TargetError
from deepseek_core.expectations import Expectations
from deepseek_core.hookspecs import ENTRY_POINT_GROUP, HOOK_API, BackendInfo
from deepseek_core.target import Availability, Capabilities, Target

if TYPE_CHECKING:
    from deepseek_core.artifact import Artifact
    from deepseek_core.calibration import Calibrator
    from deepseek_core.cost import Cost, KernelCandidate
    from deepseek_core.executable import Executable
    from deepseek_core.ir import QuantizedModel, Unit
    from deepseek_core.options import CompileOptions
    from deepseek_core.passes import Pass
    from deepseek_core.placement import Claim
    from deepseek_core.recipe import Goal, Recipe

__all__ = ["Backend", "BrokenBackend", "Registry", "discover"]

_T = TypeVar("_T")

REQUIRED = ("deepseek_backend", "deepseek_capabilities", "deepseek_probe", "deepseek_compile", "deepseek_load")
_SPECS = tuple(name for name in vars(hookspecs) if name.startswith("deepseek_"))


@dataclass(frozen=True, slots=True)
class BrokenBackend:
    """A backend that could not be registered; the others are not affected.

    Attributes:
        name: of the entry point.
        distribution: pip name, empty when unknown.
        error: one line that says what is wrong.
        fix: one line that says what to do.
        detail: the traceback, for the backend's author.
    """

    name: str
    distribution: str
    error: str
    fix: str
    detail: str = ""


class Backend:
    """A registered backend: one method per hook, with the defaults that optional hooks have.

    Raises:
        BackendError: the plugin breaks the contract (missing or misspelt hook, other major version).
    """

    def __init__(self, plugin: object, distribution: str = "") -> None:
        self._manager = pluggy.PluginManager("deepseek")
        self._manager.add_hookspecs(hookspecs)
        self.distribution = distribution
        fix = f"report it to the authors of {distribution or 'the backend'}"
        _refuse_misspelt(plugin, fix)
        try:
            self._manager.register(plugin)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            raise BackendError(f"backend breaks the hook contract: {error}", fix=fix) from error
        missing = [name for name in REQUIRED if not self.implements(name)]
        if missing:
            raise BackendError(f"backend lacks required hooks: {', '.join(missing)}", fix=fix)
        self.info = self._ask("deepseek_backend")
        if not isinstance(self.info, BackendInfo):
            raise BackendError(f"deepseek_backend() gave a {type(self.info).__name__}, not a BackendInfo", fix=fix)
        self._check_version()
        foreign = [str(t) for t in self.info.targets if t.backend != self.info.name]
        if foreign or not self.info.targets:
            raise BackendError(
                f"backend '{self.info.name}' declares {foreign[0] if foreign else 'no target'}",
                fix=f"name every target {self.info.name}:<device>",
            )

    @property
    def name(self) -> str:
        return str(self.info.name)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(self.info.targets)

    def implements(self, hook: str) -> bool:
        """Whether the backend brings an implementation of `hook`."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())

    def extend(self, plugin: object) -> None:
        """Add a plugin of hook wrappers (a profiler, a cache) around this backend's hooks."""
        _refuse_misspelt(plugin, "write the hook's name as in deepseek_core.hookspecs")
        self._manager.register(plugin)

    def capabilities(self, target: Target) -> Capabilities:
        return self._typed(Capabilities, "deepseek_capabilities", target=target)

    def probe(self, target: Target) -> Availability:
        return self._typed(Availability, "deepseek_probe", target=target)

    def recipe(self, model: QuantizedModel, target: Target, goal: Goal) -> Recipe | None:
        """The backend's own recipe; None: derive it from the capability table."""
        return self._ask("deepseek_recipe", model=model, target=target, goal=goal)  # type: ignore[no-any-return]

    def calibrators(self) -> Mapping[str, Callable[..., Calibrator]]:
        return self._ask("deepseek_calibrators") or {}

    def claim(
        self, model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]
    ) -> Sequence[Claim] | None:
        """The backend's own claims; None: derive them from the capability table."""
        return self._ask("deepseek_claim", model=model, target=target, refuse=refuse)  # type: ignore[no-any-return]

    def cost(self, units: Sequence[Unit], target: Target) -> Cost | None:
        """The backend's own estimate; None: take the roofline."""
        return self._ask("deepseek_cost", units=units, target=target)  # type: ignore[no-any-return]

    def passes(self, target: Target) -> Sequence[Pass]:
        return self._ask("deepseek_passes", target=target) or ()

    def kernels(self, unit: Unit, target: Target) -> Sequence[KernelCandidate]:
        return self._ask("deepseek_kernels", unit=unit, target=target) or ()

    def compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        from deepseek_core.artifact import Artifact

        return self._typed(Artifact, "deepseek_compile", model=model, target=target, options=options)

    def cross_compile(
        self, model: QuantizedModel, target: Target, format: str, options: CompileOptions
    ) -> Artifact | None:
        return self._ask(  # type: ignore[no-any-return]
            "deepseek_cross_compile", model=model, target=target, format=format, options=options
        )

    def load(self, artifact: Artifact, device: str | None = None) -> Executable:
        """Open an artifact that is intact and this backend's.

        Raises:
            PackageError: it is corrupt, or another backend built it.
        """
        if artifact.target.backend != self.name:
            raise PackageError(
                f"artifact was built for {artifact.target}, not for backend '{self.name}'",
                fix=f"load it with backend '{artifact.target.backend}', or compile the model for {self.targets[0]}",
            )
        artifact.verify()
        executable: Executable = self._ask("deepseek_load", artifact=artifact, device=device)
        if executable is None:
            raise BackendError(f"backend '{self.name}' gave nothing for deepseek_load", fix="return an Executable")
        return executable

    def expectations(self, target: Target) -> Expectations:
        return self._ask("deepseek_expectations", target=target) or Expectations()

    def _ask(self, hook: str, **arguments: object) -> Any:
        return getattr(self._manager.hook, hook)(**arguments)

    def _typed(self, kind: type[_T], hook: str, **arguments: object) -> _T:
        result = self._ask(hook, **arguments)
        if not isinstance(result, kind):
            raise BackendError(
                f"backend '{self.name}': {hook} gave a {type(result).__name__}, not a {kind.__name__}",
                fix=f"report it to the authors of {self.distribution or self.name}",
            )
        return result

    def _check_version(self) -> None:
        theirs, ours = tuple(self.info.hook_api), HOOK_API
        if theirs[0] != ours[0] or theirs > ours:
            older = "the backend" if theirs < ours else "deepseek-core"
            raise BackendError(
                f"backend '{self.info.name}' speaks hook API {_dotted(theirs)}, this core {_dotted(ours)}",
                fix=f"upgrade {older}",
            )


class Registry:
    """The backends of one process, by name. Callers that need no discovery pass their own."""

    def __init__(self, backends: Iterable[Backend] = (), broken: Iterable[BrokenBackend] = ()) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.broken = tuple(broken)

    def backend(self, name: str) -> Backend:
        """Backend by name.

        Raises:
            TargetError: there is none, or it is broken.
        """
        if name in self.backends:
            return self.backends[name]
        for broken in self.broken:
            if broken.name == name:
                raise TargetError(f"backend '{name}' is broken: {broken.error}", fix=broken.fix)
        raise TargetError(
            f"no backend '{name}' is installed (found: {', '.join(sorted(self.backends)) or 'none'})",
            fix=f"pip install deepseek-backend-{name}",
        )

    def _by_device(self, name: str) -> tuple[Backend, Target] | None:
        """The only target whose device has this name, where no backend has it."""
        if name in self.backends:
            return None
        found = [(b, t) for b in self.backends.values() for t in b.targets if t.device == name and not t.features]
        return found[0] if len(found) == 1 else None

    def resolve(self, target: Target | str) -> tuple[Backend, Target]:
        """Backend and target of a string; `cpu` alone takes the backend's target, `sm_89` the one so named.

        Raises:
            TargetError: unknown backend or device; the message lists the known ones.
        """
        if isinstance(target, str):
            if ":" not in target and (named := self._by_device(target.strip())) is not None:
                return named
            backend = self.backend(target.strip().split(":")[0])
            if ":" not in target:
                return backend, backend.targets[0]
            target = Target.parse(target)
        backend = self.backend(target.backend)
        if not any((t.backend, t.device) == (target.backend, target.device) for t in backend.targets):
            known = ", ".join(map(str, backend.targets))
            raise TargetError(f"backend '{backend.name}' has no target '{target}'", fix=f"choose one of: {known}")
        return backend, target


@functools.cache
def discover() -> Registry:
    """Load every installed entry point of group `deepseek.backends`; a broken one is reported, never fatal."""
    backends: dict[str, Backend] = {}
    broken: list[BrokenBackend] = []
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
        distribution = entry.dist.name if entry.dist is not None else ""
        try:
            backend = Backend(entry.load(), distribution)
            if backend.name in backends:
                raise BackendError(
                    f"'{backend.name}' is already provided by {backends[backend.name].distribution}",
                    fix=f"pip uninstall one of {distribution} and {backends[backend.name].distribution}",
                )
        except DeepseekError as error:
            broken.append(BrokenBackend(entry.name, distribution, error.message, error.fix, traceback.format_exc()))
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; it must not take others down
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            fix = f"pip install --force-reinstall {distribution}" if distribution else "reinstall the backend"
            broken.append(BrokenBackend(entry.name, distribution, line, fix, traceback.format_exc()))
        else:
            backends[backend.name] = backend
    return Registry(backends.values(), broken)


def _refuse_misspelt(plugin: object, fix: str) -> None:
    """A `deepseek_*` function that is undecorated or unknown would silently never run."""
    for name, member in inspect.getmembers(plugin, callable):
        if not name.startswith("deepseek_"):
            continue
        if name not in _SPECS:
            close = difflib.get_close_matches(name, _SPECS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise BackendError(f"'{name}' is not a hook{hint}", fix=fix)
        if not hasattr(member, "deepseek_impl"):
            raise BackendError(f"hook '{name}' is not decorated with @hookimpl", fix=fix)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
