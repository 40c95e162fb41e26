"""Attention in one kernel: which units become it, and that it computes what they do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_backend_rocm.compiler import build_image
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.lowering import lower
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_backend_rocm.verification.sampling import sample
from deepseek_core import CompileOptions, QuantizedModel, Target
from deepseek_core.ir import with_input_shapes
from deepseek_core.reference import evaluate

Made = tuple[str, Sequence[str], dict[str, object]]


def _float_model(shapes: dict[str, tuple[int, ...]], nodes: Sequence[Made], outputs: Sequence[str] = ("y",)):
    """Nodes of one output each: (op and name of the output, inputs, attributes); "0.3" as an input is that number."""
    values = {n: ir.Value(name=n, shape=ir.Shape(s), type=ir.TensorType(ir.DataType.FLOAT)) for n, s in shapes.items()}
    inputs, made, constants = list(values.values()), [], []
    for text, names, attributes in nodes:
        op, output = text.split()
        for name in names:
            if name not in values:
                tensor = ir.tensor(np.float32(name), name=f"c{name}")
                values[name] = ir.Value(
                    name=f"c{name}", const_value=tensor, shape=ir.Shape(()), type=ir.TensorType(ir.DataType.FLOAT)
                )
                constants.append(values[name])
        node = ir.node(op, [values[name] for name in names], attributes, name=f"{op.lower()}.{output}")
        node.outputs[0].name, node.outputs[0].type = output, ir.TensorType(ir.DataType.FLOAT)
        values[output] = node.outputs[0]
        made.append(node)
    ends = [values[name] for name in outputs]
    graph = ir.Graph(inputs, ends, nodes=made, initializers=constants, opset_imports={"": 21})
    return with_input_shapes(QuantizedModel(ir.Model(graph, ir_version=10)), {})


SHAPES = {"q": (2, 3, 19, 24), "k": (2, 3, 24, 37), "v": (2, 3, 37, 20), "mask": (2, 1, 1, 37)}
PRODUCT: Made = ("MatMul s", ("q", "k"), {})
SCALED: Made = ("Div t", ("s", "4.5"), {})
MASKED: Made = ("Add u", ("mask", "t"), {})
SHARES: Made = ("Softmax p", ("u",), {"axis": -1})
VALUES: Made = ("MatMul o", ("p", "v"), {})
MERGED: Made = ("Transpose y", ("o",), {"perm": [0, 2, 1, 3]})
WHOLE = (PRODUCT, SCALED, MASKED, SHARES, VALUES, MERGED)


def _kernels(model: QuantizedModel) -> list[str]:
    return [step.kernel for step in lower(model).steps]


def _close(model: QuantizedModel, feeds: dict[str, np.ndarray], architecture: str) -> None:
    expected = evaluate(model, feeds)
    executable = RocmExecutable(
        build_image(model, Target("rocm", architecture), CompileOptions()), EmulatedDevice(architecture)
    )
    actual = executable.run(feeds)
    executable.close()
    for name, wanted in expected.items():
        np.testing.assert_allclose(actual[name], wanted, rtol=1e-5, atol=1e-6)


def test_real_numbers_become_one_kernel_that_writes_what_the_transposition_wants(triton) -> None:
    model = _float_model(SHAPES, WHOLE)
    assert _kernels(model) == ["attention_real"]
    rng = np.random.default_rng(2)
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    feeds["mask"][0, :, :, 30:] = -np.inf
    _close(model, feeds, "gfx942")


def test_a_row_without_a_key_has_no_result(triton) -> None:
    """As softmax of −∞ alone has none: NaN, in whole blocks of keys too, but not where one key is left."""
    shapes = {"q": (1, 1, 2, 8), "k": (1, 1, 8, 70), "v": (1, 1, 70, 8), "mask": (1, 1, 2, 70)}
    nodes = (PRODUCT, ("Add u", ("s", "mask"), {}), *WHOLE[3:])
    model = _float_model(shapes, nodes)
    rng = np.random.default_rng(3)
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    feeds["mask"][:] = -np.inf
    feeds["mask"][0, 0, 1, 69] = 0
    executable = RocmExecutable(
        build_image(model, Target("rocm", "gfx1100"), CompileOptions()), EmulatedDevice("gfx1100")
    )
    result = executable.run(feeds)["y"][0, :, 0]
    executable.close()
    assert np.isnan(result[0]).all()
    np.testing.assert_allclose(result[1], feeds["v"][0, 0, 69], rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (WHOLE, ("y", "p")),
        (WHOLE, ("y", "s")),
        ((*WHOLE, ("Add z", ("t", "t"), {})), ("y", "z")),
        ((PRODUCT, SCALED, MASKED, ("Softmax p", ("u",), {"axis": 2}), VALUES, MERGED), ("y",)),
        ((PRODUCT, ("Div t", ("4.5", "s"), {}), *WHOLE[2:]), ("y",)),
        ((PRODUCT, ("Sub t", ("s", "4.5"), {}), *WHOLE[2:]), ("y",)),
        ((*WHOLE[:-1], ("Relu r", ("o",), {}), ("Identity y", ("r",), {})), ("y",)),
    ],
    ids=[
        "shares are read",
        "scores are read",
        "scaled scores are read",
        "columns",
        "number over scores",
        "sub",
        "relu",
    ],
)
def test_what_is_read_elsewhere_or_is_another_function_stays(nodes, outputs) -> None:
    assert "attention_real" not in _kernels(_float_model(SHAPES, nodes, outputs))


def test_heads_that_registers_do_not_hold_stay_separate() -> None:
    wide = {**SHAPES, "q": (2, 3, 19, 200), "k": (2, 3, 200, 37)}
    kernels = _kernels(_float_model(wide, WHOLE))
    assert "attention_real" not in kernels
    assert kernels.count("matmul_real") == 2


def test_a_mask_that_makes_more_scores_stays_outside() -> None:
    shapes = {"q": (1, 1, 19, 24), "k": (1, 1, 24, 37), "v": (2, 3, 37, 20), "mask": (2, 3, 1, 37)}
    assert "attention_real" not in _kernels(_float_model(shapes, WHOLE))


def test_codes_become_one_kernel_with_the_numbers_of_the_model() -> None:
    """Seeds of the four ways in which scores become the argument of softmax."""
    for seed in range(8):
        unit = sample("attention", seed)
        (step,) = lower(unit.model).steps
        assert step.kernel == "attention", unit.text
        (way,) = {"plain", "times", "over", "codes"} & set(unit.text.split())
        assert step.constants["SCALE"] == {"plain": 0, "times": 1, "over": 2, "codes": 3}[way]
        assert step.values["p_zero"] == -128
