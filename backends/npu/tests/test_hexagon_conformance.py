"""The conformance kit on Hexagon: most of it for one version, the plain cases for the others."""

import pytest

from deepseek_backend_npu.versions import qnn_problem
from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.skipif(qnn_problem() is not None, reason=f"{qnn_problem()}")


class TestV73Contract(ConformanceSuite):
    target = "npu:hexagon-v73"
    pattern = "contract/*"


class TestV73(ConformanceSuite):
    target = "npu:hexagon-v73"
    pattern = "numerics/*/uint8*/[ms]*"


class TestV68(ConformanceSuite):
    target = "npu:hexagon-v68"
    pattern = "numerics/[ACGM]*/uint8*/mixed"


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
