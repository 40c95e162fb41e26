"""The conformance kit: everything for one variant, the plain case of every rule for the others."""

import pytest

from deepseek_backend_npu.versions import compiler_version, reference_version
from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.skipif(compiler_version() is None, reason="Vela is not installed")
_PLAIN = "numerics/*/mixed"
_NO_REFERENCE = pytest.mark.skipif(reference_version() is None, reason="Arm's TOSA model is not installed")


class TestU55(ConformanceSuite):
    target = "npu:ethos-u55-128"


class TestU55Smallest(ConformanceSuite):
    target = "npu:ethos-u55-32"
    pattern = _PLAIN


class TestU55Small(ConformanceSuite):
    target = "npu:ethos-u55-64"
    pattern = _PLAIN


class TestU55Large(ConformanceSuite):
    target = "npu:ethos-u55-256"
    pattern = _PLAIN


class TestU65(ConformanceSuite):
    target = "npu:ethos-u65-256"
    pattern = _PLAIN


class TestU65TwoCores(ConformanceSuite):
    target = "npu:ethos-u65-512"
    pattern = "numerics/*/odd_sizes"


@_NO_REFERENCE
class TestU85(ConformanceSuite):
    target = "npu:ethos-u85-256"
    pattern = _PLAIN
