"""The conformance kit over the fake GPU: contract, and the numbers of everything but the silicon."""

import pytest

from deepseek_core.conformance import ConformanceSuite

pytestmark = pytest.mark.usefixtures("gpu")


class TestContract(ConformanceSuite):
    target = "tensorrt:sm_90"
    pattern = "contract/*"


class TestNumbers(ConformanceSuite):
    target = "tensorrt:sm_90"
    pattern = "numerics/*int8*/mixed"
