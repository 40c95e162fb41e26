"""The portable kernels under address and undefined-behaviour sanitizers: the numerics of the kit, on this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepseek_backend_arm import plugin
from deepseek_backend_arm.container import Container
from deepseek_backend_arm.native import Library
from deepseek_backend_arm.runtime import ArmExecutable
from deepseek_backend_arm.server import Server
from deepseek_backend_arm.sources import LIBRARY, sources
from deepseek_core import Backend, CompileOptions, Tier, discover, hookimpl
from deepseek_core.conformance import ConformanceSuite

DEVICE = "portable kernels"
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler for this machine")


def _built(name: str, parts: tuple[str, ...], *flags: str) -> Path:
    folder = Path(tempfile.mkdtemp())
    for file, text in sources().items():
        (folder / file).write_text(text)
    files = [f"{part}.c" for part in parts]
    base = ["gcc", "-std=gnu11", "-O1", "-ffp-contract=off", "-DDS_PORTABLE", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*base, *flags, *files, "-o", name, "-lm", "-lpthread"], cwd=folder, check=True)
    return folder / name


@cache
def _server() -> Server:
    checks = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return Server([str(_built("serve", (*LIBRARY, "serve"), *checks))])


@hookimpl
def _load(artifact, device):
    if device not in (None, DEVICE):
        raise AssertionError("the contract's cases are not run here")
    return ArmExecutable(Container.decode(artifact.payload), _server(), DEVICE, Tier.SIMULATED)


@hookimpl
def _probe(target):
    here = discover().backend("arm").probe(target)
    return replace(here, can_run=True, missing=(), tier=Tier.SIMULATED, devices=(DEVICE,))


_HOOKS = {name: getattr(plugin, name) for name in dir(plugin) if name.startswith("deepseek_")}


class TestPortable(ConformanceSuite):
    target = "arm:cortex-a72"
    backend = Backend(SimpleNamespace(**{**_HOOKS, "deepseek_load": _load, "deepseek_probe": _probe}))
    pattern = "numerics/*"


def test_the_shared_library_gives_the_same(network, sample, expected) -> None:
    """What an ARM machine runs through ctypes, here with the portable kernels."""
    backend, target = discover().resolve("arm64")
    container = Container.decode(backend.compile(network, target, CompileOptions()).payload)
    library = Library(_built("libds.so", LIBRARY, "-shared", "-fPIC"))
    first, second = library.load(container), library.load(container)
    for slot in (first, second, first):
        assert (library.run(slot, [sample])[0] == expected).all()
    library.free(first)
    assert (library.run(second, [sample])[0] == expected).all()
