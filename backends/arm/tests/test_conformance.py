"""The conformance kit: everything for one CPU, the plain cases for the others."""

import pytest

from deepseek_backend_arm.probe import probe
from deepseek_backend_arm.targets import TARGETS
from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.skipif(
    not probe(TARGETS[0]).can_run, reason="; ".join(missing.what for missing in probe(TARGETS[0]).missing)
)
_PLAIN = "numerics/*/mixed"
_FEW = "numerics/[CM]*/mixed"
_PRODUCTS = "numerics/*/int8-int8pc-*"
"""What runs by the matrix kernels that differ from CPU to CPU."""


class TestCortexA72(ConformanceSuite):
    target = "arm:cortex-a72"


class TestCortexA53(ConformanceSuite):
    target = "arm:cortex-a53"
    pattern = _FEW


class TestCortexA76(ConformanceSuite):
    target = "arm:cortex-a76"
    pattern = _PRODUCTS


class TestNeoverseN1(ConformanceSuite):
    target = "arm:neoverse-n1"
    pattern = _FEW


class TestDotprod(ConformanceSuite):
    target = "arm:armv8.2-a+dotprod"
    pattern = _PLAIN


class TestI8mm(ConformanceSuite):
    target = "arm:armv8.6-a+i8mm"
    pattern = _PRODUCTS


class TestGeneric(ConformanceSuite):
    target = "arm:arm64"
    pattern = _FEW
