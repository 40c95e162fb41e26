"""The conformance kit on Hexagon: the contract and the plain cases for one version, a few for the others.

A case takes a process and a simulation, so the rest is for `benchmarks/npu.py`, or for whoever changes the table:
`deepseek conformance npu --target npu:hexagon-v73`.
"""

import pytest

from deepseek_backend_npu.versions import qnn_problem
from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.skipif(qnn_problem() is not None, reason=f"{qnn_problem()}")


class TestV73Contract(ConformanceSuite):
    target = "npu:hexagon-v73"
    pattern = "contract/*"


class TestV73(ConformanceSuite):
    target = "npu:hexagon-v73"
    pattern = "numerics/*/uint8*/mixed"


class TestV68(ConformanceSuite):
    target = "npu:hexagon-v68"
    pattern = "numerics/Conv/*/mixed"


class TestV69(ConformanceSuite):
    target = "npu:hexagon-v69"
    pattern = "numerics/Conv/*/mixed"


class TestV75(ConformanceSuite):
    target = "npu:hexagon-v75"
    pattern = "numerics/Conv/*/mixed"


class TestV79(ConformanceSuite):
    target = "npu:hexagon-v79"
    pattern = "numerics/Conv/*/mixed"


class TestV81(ConformanceSuite):
    target = "npu:hexagon-v81"
    pattern = "numerics/Conv/*/mixed"
