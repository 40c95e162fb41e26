"""What passes of a backend may do to the inputs and outputs of a part."""

from __future__ import annotations

from types import SimpleNamespace

import onnx_ir as ir
import pytest

from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError
from deepseek_core.options import CompileOptions
from deepseek_core.package.build import build_part
from deepseek_core.partition import Part
from deepseek_core.passes import Pass
from deepseek_core.target import Target

TARGET = Target("npu", "x1")


class Reshaping(Pass):
    """Gives the output another shape."""

    def __init__(self, shape):
        self.shape = shape

    def run(self, model):
        model.graph.outputs[0].shape = None if self.shape is None else ir.Shape(self.shape)
        return True


def built(model, shape):
    backend = SimpleNamespace(
        name="npu",
        distribution=None,
        passes=lambda target: [Reshaping(shape)],
        compile=lambda model, target, options: Artifact(target, b"", "none"),
    )
    part = Part("part0", TARGET, model)
    return build_part(part, backend, CompileOptions())


def test_sizes_may_become_known(model):
    assert model().outputs[0].shape == ("N", 8)
    assert built(model(), [3, 8]).target == TARGET


@pytest.mark.parametrize("shape", [["N", 4], ["N", 8, 1], ["N", "M"], ["M", 8], None])
def test_other_changes_break_the_contract(model, shape):
    with pytest.raises(BackendError, match="its passes change the inputs or outputs of part0"):
        built(model(), shape)
