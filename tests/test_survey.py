from __future__ import annotations

from types import SimpleNamespace

from deepseek_core import Availability, BackendInfo, Capabilities, Target, hookimpl
from deepseek_core.registry import Backend, Registry
from deepseek_core.survey import survey


def _backend(name: str, probe) -> Backend:
    targets = (Target(name, "one"), Target(name, "two"))
    hooks = {
        "deepseek_backend": lambda: BackendInfo(name, (1, 0), targets, "", "1"),
        "deepseek_capabilities": lambda target: Capabilities(target, ()),
        "deepseek_probe": probe,
        "deepseek_compile": lambda: None,
        "deepseek_load": lambda: None,
    }
    return Backend(SimpleNamespace(**{hook: hookimpl(function) for hook, function in hooks.items()}), f"dist-{name}")


def test_every_target_is_probed_and_a_probe_that_raises_hides_no_other() -> None:
    def picky(target: Target) -> Availability:
        if target.device == "one":
            raise OSError("the bus\nis gone")
        return Availability(can_compile=True, can_run=False)

    good = _backend("good", lambda: Availability(can_compile=True, can_run=True, detail="here"))
    found = survey(Registry([_backend("picky", picky), good]))
    assert [status.backend.name for status in found] == ["good", "picky"]
    assert [str(t.target) for t in found[1].targets] == ["picky:one", "picky:two"]
    raised, silent = (t.availability for t in found[1].targets)
    assert (raised.can_compile, raised.can_run) == (False, False)
    assert raised.missing[0].what == "a probe that works (OSError: the bus is gone)"
    assert "dist-picky" in raised.missing[0].fix
    assert (silent.can_compile, silent.can_run, silent.missing) == (True, False, ())
    assert all(t.availability.can_run for t in found[0].targets)
