"""The conformance kit: everything the backend declares, tested case by case."""

from deepseek_core.conformance import ConformanceSuite


class TestCpu(ConformanceSuite):
    target = "cpu"
