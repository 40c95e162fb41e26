"""The conformance kit in shares: what differs between matrix cores on one of each kind, plain cases for the others.

The whole kit of a target: `deepseek conformance rocm --target rocm:gfx942`.
"""

import pytest

from deepseek_backend_rocm import toolchain
from deepseek_backend_rocm.probe import probe
from deepseek_backend_rocm.targets import TARGETS
from deepseek_core.conformance import ConformanceSuite

_HERE = probe(TARGETS[0])
pytestmark = [
    pytest.mark.skipif(toolchain.installed() != toolchain.TRITON, reason="Triton is not installed"),
    pytest.mark.skipif(not _HERE.can_run, reason="; ".join(missing.what for missing in _HERE.missing)),
]


class TestContract(ConformanceSuite):
    target = "rocm:gfx942"
    pattern = "contract/*"


class TestMfma(ConformanceSuite):
    target = "rocm:gfx942"
    pattern = "numerics/*/int8*/mixed"


class TestWmma(ConformanceSuite):
    target = "rocm:gfx1100"
    pattern = "numerics/[CGM]*/int8*/odd*"


class TestFirstMfma(ConformanceSuite):
    target = "rocm:gfx90a"
    pattern = "numerics/[CM]*/int8-int8pc*/mixed"
