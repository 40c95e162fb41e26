"""The choice of matrix kernels: by estimate, by measurement on an ARM64 machine, and that all of them give the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from deepseek_backend_arm.build import SHARED, link_shared
from deepseek_backend_arm.container import Container
from deepseek_backend_arm.lowering import lower
from deepseek_backend_arm.selection import NAMES, WAYS, Product, choose, ranked, timing
from deepseek_backend_arm.sources import sources
from deepseek_backend_arm.toolchain import find_toolchain
from deepseek_core import CompileOptions, discover

DEEP, SHALLOW = Product(28, 256, 2304, tight=1.0), Product(180, 256, 16, tight=1.0)


@pytest.mark.parametrize(
    ("target", "level"), [("arm:cortex-a72", "neon"), ("arm:cortex-a76", "dotprod"), ("arm:armv8.6-a+i8mm", "i8mm")]
)
def test_every_kernel_gives_the_reference(network, toolchain, judged, target, level) -> None:
    sample, expected = judged
    backend, resolved = discover().resolve(target)
    for kernel in (*WAYS[level], "auto"):
        options = CompileOptions(extra={"kernels": kernel})
        executable = backend.load(backend.compile(network, resolved, options))
        np.testing.assert_array_equal(executable.run({"x": sample})["y"], expected)
        executable.close()


def test_a_wanted_kernel_is_in_the_plan(network) -> None:
    words = {name: {step.values["way"] for step in _convs(network, name)} for name in NAMES}
    assert words["sdot"] <= {2, 3}
    assert words["smmla"] <= {0, 1}
    assert words["sdot-8x8"] <= {1, 3}
    assert all(offset & 1 for offset, _ in lower(network, CompileOptions(extra={"kernels": "sdot"})).packs)


def _convs(network, kernel):
    return [s for s in lower(network, CompileOptions(extra={"kernels": kernel})).steps if s.kernel == "conv"]


def test_estimates_prefer_what_a_tile_costs_besides_where_products_are_shallow() -> None:
    assert choose(DEEP, "auto").fours
    assert not choose(SHALLOW, "auto").fours
    assert not choose(DEEP, "auto").by_dot
    assert choose(SHALLOW, "auto").by_dot


def test_sums_of_four_need_weights_that_fit() -> None:
    loose = Product(196, 256, 2304)
    assert ranked(loose, "neon")[0] == ["pairs"]
    assert not choose(loose, "auto").fours
    mostly_loose = Product(196, 256, 2304, tight=0.1)
    assert not choose(mostly_loose, "auto").fours


class _Machine:
    """An ARM64 machine that counts what it is asked to run."""

    level = 1

    def __init__(self) -> None:
        self.loaded: list[Container] = []
        self.freed = 0

    def load(self, container: Container) -> int:
        self.loaded.append(container)
        return len(self.loaded) - 1

    def execute(self, slot: int) -> None:
        assert 0 <= slot < len(self.loaded)

    def free(self, slot: int) -> None:
        self.freed += 1


@pytest.fixture
def machine(monkeypatch, tmp_path) -> _Machine:
    found = _Machine()
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(timing, "is_arm", lambda: True)
    monkeypatch.setattr(timing, "installed", object)
    monkeypatch.setattr("deepseek_backend_arm.build.runtime_folder", lambda options=None: tmp_path / "runtime")
    monkeypatch.setattr("deepseek_backend_arm.native.library_for", lambda folder: found)
    for cached in (timing._own_level, timing._cache):
        cached.cache_clear()
    yield found
    for cached in (timing._own_level, timing._cache):
        cached.cache_clear()


def test_an_arm_machine_measures_once_and_keeps_it(machine, monkeypatch, tmp_path) -> None:
    figures = {"sdot-5x16": 3e-4, "sdot-8x8": 2e-4}
    asked = []

    def measured(runners, **settings):
        for run in runners.values():
            run()
        asked.append(sorted(runners))
        return {name: figures[name] for name in runners}

    monkeypatch.setattr(timing, "measure", measured)
    names, seconds, basis = ranked(DEEP, "dotprod")
    assert (names, dict(seconds), str(basis)) == (["sdot-8x8", "sdot-5x16"], figures, "measured")
    assert choose(DEEP, "auto").narrow
    assert str(ranked(DEEP, "neon")[2]) == "analytic", "the machine's own instruction set only"
    assert asked == [["sdot-5x16", "sdot-8x8"]]
    assert machine.freed == len(machine.loaded) == 2
    assert machine.loaded[0].body != machine.loaded[1].body
    timing._cache.cache_clear()
    assert str(ranked(DEEP, "dotprod")[2]) == "measured"
    assert (len(asked), (tmp_path / "arm-tuning.json").exists()) == (1, True)


def test_the_library_of_arm_machines_links(toolchain, tmp_path) -> None:
    for name, text in sources().items():
        (tmp_path / name).write_text(text)
    link_shared(find_toolchain(), tmp_path)
    symbols = _symbols(tmp_path / SHARED)
    assert {"ds_load", "ds_execute", "ds_unload", "ds_bytes", "ds_cpu"} <= symbols


def _symbols(library: Path) -> set[str]:
    """Names that a shared library offers."""
    done = subprocess.run(["strings", str(library)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
