"""The contract between the core and a backend: registration, versions, broken plugins, hook wrappers."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pluggy
import pytest

from deepseek_core import registry
from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError, TargetError
from deepseek_core.expectations import Expectations
from deepseek_core.hookspecs import ENTRY_POINT_GROUP, HOOK_API, BackendInfo, hookimpl
from deepseek_core.registry import Backend, BrokenBackend, Registry
from deepseek_core.target import Availability, Capabilities, Target

HOST = Target("toy", "host")


def plugin(name="toy", api=HOOK_API, targets=(HOST,), **hooks):
    """A complete plugin; `hooks` replace or (with None) remove single hooks."""

    def deepseek_backend():
        return BackendInfo(name, api, targets, "a toy", "1.0")

    def deepseek_capabilities(target):
        return Capabilities(target, ())

    def deepseek_probe(target):
        return Availability(can_compile=True, can_run=True)

    def deepseek_compile(model, target, options):
        raise NotImplementedError

    def deepseek_load(artifact):
        return None

    complete = {
        f.__name__: hookimpl(f)
        for f in (deepseek_backend, deepseek_capabilities, deepseek_probe, deepseek_compile, deepseek_load)
    }
    return SimpleNamespace(**{k: v for k, v in {**complete, **hooks}.items() if v is not None})


def test_a_complete_plugin_registers_and_optional_hooks_have_defaults():
    backend = Backend(plugin())
    assert (backend.name, backend.targets) == ("toy", (HOST,))
    assert not backend.implements("deepseek_cost")
    assert backend.cost((), HOST) is None
    assert backend.claim(None, HOST, lambda unit, reason: None) is None
    assert backend.recipe(None, HOST, None) is None
    assert backend.passes(HOST) == ()
    assert backend.kernels(None, HOST) == ()
    assert backend.calibrators() == {}
    assert backend.cross_compile(None, HOST, "elf", None) is None
    assert backend.expectations(HOST) == Expectations()


@pytest.mark.parametrize("hook", registry.REQUIRED)
def test_a_missing_required_hook_is_named(hook):
    with pytest.raises(BackendError, match=f"lacks required hooks: {hook}"):
        Backend(plugin(**{hook: None}))


def test_a_misspelt_hook_is_an_error_with_a_suggestion():
    with pytest.raises(BackendError, match="'deepseek_capabilitys' is not a hook; did you mean deepseek_capabilities"):
        Backend(plugin(deepseek_capabilitys=hookimpl(lambda target: None)))


def test_an_undecorated_hook_is_an_error():
    with pytest.raises(BackendError, match="'deepseek_probe' is not decorated with @hookimpl"):
        Backend(plugin(deepseek_probe=lambda target: None))


def test_an_unknown_argument_is_an_error():
    with pytest.raises(BackendError, match="breaks the hook contract"):
        Backend(plugin(deepseek_probe=hookimpl(lambda target, colour: None)))


@pytest.mark.parametrize(
    ("api", "fix"),
    [
        ((HOOK_API[0] + 1, 0), "upgrade deepseek-core"),
        ((HOOK_API[0] - 1, 9), "upgrade the backend"),
        ((HOOK_API[0], HOOK_API[1] + 1), "upgrade deepseek-core"),
    ],
)
def test_another_hook_api_is_refused_with_both_versions_and_the_fix(api, fix):
    with pytest.raises(BackendError) as caught:
        Backend(plugin(api=api))
    assert ".".join(map(str, api)) in str(caught.value)
    assert ".".join(map(str, HOOK_API)) in str(caught.value)
    assert caught.value.fix == fix


@pytest.mark.parametrize("targets", [(), (Target("other", "host"),)])
def test_targets_must_carry_the_backends_name(targets):
    with pytest.raises(BackendError, match="declares"):
        Backend(plugin(targets=targets))


def test_a_hook_of_the_wrong_type_is_named():
    backend = Backend(plugin(deepseek_probe=hookimpl(lambda target: "yes")))
    with pytest.raises(BackendError, match="deepseek_probe gave a str, not a Availability"):
        backend.probe(HOST)
    with pytest.raises(BackendError, match="gave nothing for deepseek_load"):
        backend.load(Artifact(HOST, b"code", "raw"))


def test_each_backend_answers_for_itself():
    first = Backend(plugin("one", targets=(Target("one", "host"),)))
    second = Backend(plugin("two", targets=(Target("two", "host"),)))
    assert [b.name for b in (first, second)] == ["one", "two"]


def test_a_hook_wrapper_sees_every_call():
    calls = []

    @pluggy.HookimplMarker("deepseek")(wrapper=True)
    def deepseek_probe(target):
        calls.append(target)
        return (yield)

    backend = Backend(plugin())
    backend.extend(SimpleNamespace(deepseek_probe=deepseek_probe))
    assert backend.probe(HOST).can_run
    assert calls == [HOST]


def test_resolve_takes_names_and_lists_what_there_is():
    found = Registry([Backend(plugin())], [BrokenBackend("bad", "deepseek-backend-bad", "ImportError: x", "reinstall")])
    assert found.resolve("toy")[1] == HOST
    assert found.resolve("host")[1] == HOST
    assert found.resolve("toy:host+fast")[1] == Target("toy", "host", ("fast",))
    with pytest.raises(TargetError, match="no target 'toy:moon'; choose one of: toy:host"):
        found.resolve("toy:moon")
    with pytest.raises(TargetError, match=r"no backend 'rocm' .*pip install deepseek-backend-rocm"):
        found.resolve("rocm:gfx942")
    with pytest.raises(TargetError, match="backend 'bad' is broken: ImportError: x; reinstall"):
        found.resolve("bad:x")


class _Entry(EntryPoint):
    """An entry point whose load gives (or raises) what the test says."""

    def load(self):
        thing = _LOADS[self.name]
        if isinstance(thing, BaseException):
            raise thing
        return thing


_LOADS: dict[str, object] = {}


def test_discovery_reports_broken_backends_and_keeps_the_others(monkeypatch):
    _LOADS.update(
        {
            "good": plugin("good", targets=(Target("good", "host"),)),
            "import": ImportError("libmagic.so: cannot open"),
            "exit": SystemExit(3),
            "old": plugin("old", api=(0, 1), targets=(Target("old", "host"),)),
            "twin": plugin("good", targets=(Target("good", "host"),)),
        }
    )
    entries = [_Entry(name, "x:y", ENTRY_POINT_GROUP) for name in _LOADS]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entries)
    found = registry.discover.__wrapped__()
    assert list(found.backends) == ["good"]
    errors = {b.name: b.error for b in found.broken}
    assert errors.keys() == {"import", "exit", "old", "twin"}
    assert errors["import"] == "ImportError: libmagic.so: cannot open"
    assert "hook API 0.1" in errors["old"]
    assert "already provided" in errors["twin"]
    assert all(b.fix for b in found.broken)
