"""The conformance kit: whole for one variant, what differs for the other two families, plain cases for the rest.

The whole kit of another variant: `deepseek conformance npu --target npu:ethos-u85-512`.
"""

import pytest

from deepseek_backend_npu.versions import compiler_version
from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.skipif(compiler_version() is None, reason="Vela is not installed")
_WEIGHTS = "numerics/[CGM]*/int8*"
"""Convolutions and products with all of their cases, and what else has these letters."""
_PLAIN = "numerics/[ACGM]*/int8*/mixed"


class TestU55(ConformanceSuite):
    target = "npu:ethos-u55-128"


class TestU65(ConformanceSuite):
    """Of the two cores each has every other channel; all else is as in U55."""

    target = "npu:ethos-u65-512"
    pattern = _WEIGHTS


class TestU85(ConformanceSuite):
    """Weights, chains and registers are its own."""

    target = "npu:ethos-u85-512"
    pattern = _WEIGHTS


class TestU85Plain(ConformanceSuite):
    target = "npu:ethos-u85-512"
    pattern = "numerics/*/mixed"


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
