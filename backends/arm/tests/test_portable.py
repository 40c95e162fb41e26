"""The portable kernels under address and undefined-behaviour sanitizers: the numerics of the kit, on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deepseek_backend_arm import plugin
from deepseek_backend_arm.container import Container
from deepseek_backend_arm.native import Library
from deepseek_backend_arm.runtime import ArmExecutable
from deepseek_backend_arm.selection import Product
from deepseek_backend_arm.selection.timing import _program
from deepseek_backend_arm.server import Server
from deepseek_backend_arm.sources import LIBRARY
from deepseek_backend_arm.tvm.ops import OPS
from deepseek_core import Backend, CompileOptions, Tier, discover, hookimpl
from deepseek_core.conformance import ConformanceSuite

DEVICE = "portable kernels"
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler for this machine")


@hookimpl
def _load(artifact, device):
    if device not in (None, DEVICE):
        raise AssertionError("the contract's cases are not run here")
    return ArmExecutable(Container.decode(artifact.payload), _SERVER[0], DEVICE, Tier.SIMULATED)


@hookimpl
def _probe(target):
    here = discover().backend("arm").probe(target)
    return replace(here, can_run=True, missing=(), tier=Tier.SIMULATED, devices=(DEVICE,))


_SERVER: list[Server] = []


@pytest.fixture(autouse=True, scope="module")
def _server(portable) -> None:
    _SERVER.append(portable)


@hookimpl
def _capabilities(target):
    """Without what TVM compiles: its objects are for ARM64."""
    table = plugin.deepseek_capabilities(target)
    return replace(table, rules=tuple(rule for rule in table.rules if rule.op not in OPS))


_HOOKS = {name: getattr(plugin, name) for name in dir(plugin) if name.startswith("deepseek_")}


_HOOKS |= {"deepseek_load": _load, "deepseek_probe": _probe, "deepseek_capabilities": _capabilities}
_PORTABLE = Backend(SimpleNamespace(**_HOOKS))


class TestPortableCodes(ConformanceSuite):
    target = "arm:cortex-a72"
    backend = _PORTABLE
    pattern = "numerics/*/int8*-int8/*"


class TestPortableReals(ConformanceSuite):
    target = "arm:cortex-a72"
    backend = _PORTABLE
    pattern = "numerics/*/float32*/*"


def test_the_shared_library_gives_the_same(network, sample, expected, built) -> None:
    """What an ARM machine runs through ctypes, here with the portable kernels."""
    backend, target = discover().resolve("arm64")
    container = Container.decode(backend.compile(network, target, CompileOptions()).payload)
    library = Library(built("libds.so", LIBRARY, "-shared", "-fPIC"))
    first, second = library.load(container), library.load(container)
    for slot in (first, second, first):
        assert (library.run(slot, [sample])[0] == expected).all()
    library.free(first)
    assert (library.run(second, [sample])[0] == expected).all()
    timed = library.load(_program(Product(49, 33, 70, groups=2, tight=0.5), "fours", 2))
    library.execute(timed)
    library.free(timed)
    assert library.level == 0
