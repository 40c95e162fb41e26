"""The conformance kit: everything for one variant of each family, the plain case of every rule for the others."""

import pytest

from deepseek_backend_npu.versions import compiler_version
from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.skipif(compiler_version() is None, reason="Vela is not installed")
_PLAIN = "numerics/*/mixed"


class TestU55(ConformanceSuite):
    target = "npu:ethos-u55-128"


class TestU65(ConformanceSuite):
    """Of the two cores each has every other channel."""

    target = "npu:ethos-u65-512"


class TestU85(ConformanceSuite):
    target = "npu:ethos-u85-512"


class TestU55With32Macs(ConformanceSuite):
    target = "npu:ethos-u55-32"
    pattern = _PLAIN


class TestU55With64Macs(ConformanceSuite):
    target = "npu:ethos-u55-64"
    pattern = _PLAIN


class TestU55With256Macs(ConformanceSuite):
    target = "npu:ethos-u55-256"
    pattern = _PLAIN


class TestU65With256Macs(ConformanceSuite):
    target = "npu:ethos-u65-256"
    pattern = _PLAIN


class TestU85With128Macs(ConformanceSuite):
    target = "npu:ethos-u85-128"
    pattern = _PLAIN


class TestU85With256Macs(ConformanceSuite):
    target = "npu:ethos-u85-256"
    pattern = _PLAIN


class TestU85With1024Macs(ConformanceSuite):
    target = "npu:ethos-u85-1024"
    pattern = _PLAIN


class TestU85With2048Macs(ConformanceSuite):
    target = "npu:ethos-u85-2048"
    pattern = _PLAIN
