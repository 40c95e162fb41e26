"""What torch's exporter writes for `torch.cond` and `while_loop` imports, quantizes inside its bodies, and runs."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.ops import Role
from deepseek_core.ir.verify import verify
from deepseek_core.options import CompileOptions
from deepseek_core.passes.bodies import all_nodes
from deepseek_core.pipeline import float_model, quantize
from deepseek_core.reference import evaluate
from deepseek_core.registry import discover

torch = pytest.importorskip("torch", reason="torch exports these models")

RNG = np.random.default_rng(5)


class Branches(torch.nn.Module):
    """Two paths through the network, chosen by what is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.back = torch.nn.Linear(16, 32), torch.nn.Linear(32, 16)
        self.short, self.head = torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)

    def forward(self, x):
        def hard(x):
            return self.back(torch.relu(self.wide(x)))

        def easy(x):
            return torch.tanh(self.short(x))

        return self.head(torch.cond(x.sum() > 0, hard, easy, (x,)))


class Counted(torch.nn.Module):
    """A recurrence over five steps."""

    def __init__(self) -> None:
        super().__init__()
        self.step = torch.nn.Linear(16, 16)

    def forward(self, x):
        from torch._higher_order_ops.while_loop import while_loop

        def more(i, h):
            return i < 5

        def body(i, h):
            return i + 1, torch.tanh(self.step(h))

        return while_loop(more, body, (torch.tensor(0), x))[1]


class UntilSmall(torch.nn.Module):
    """Steps until what is left is small."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.back = torch.nn.Linear(16, 32), torch.nn.Linear(32, 16, bias=False)

    def forward(self, x):
        from torch._higher_order_ops.while_loop import while_loop

        def more(h):
            return h.abs().sum() > 1.0

        def body(h):
            return (torch.tanh(self.back(torch.relu(self.step(h)))) * h * 0.5,)

        return while_loop(more, body, (x,))[0]


@pytest.fixture(scope="module")
def export():
    """`export(module)`: the module and its ONNX form, from `torch.onnx.export(dynamo=True)`."""

    def make(kind):
        torch.manual_seed(0)
        module = kind().eval()
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module, (torch.randn(2, 16),), dynamo=True, verbose=False)
        return module, load_model(program.model_proto)

    return make


def samples(count):
    return [{"x": RNG.normal(size=(2, 16)).astype(np.float32)} for _ in range(count)]


def sqnr(exact, approximate):
    noise = np.square(exact - approximate, dtype=np.float64).sum()
    return 10 * np.log10(np.square(exact, dtype=np.float64).sum() / max(noise, 1e-30))


def weighted(model):
    """(inside a body, op) of every unit with a quantized weight."""
    units = [unit for unit in model.all_units() if any(operand.qparams for operand in unit.operands(Role.WEIGHT))]
    return sorted((bool(unit.path), unit.op) for unit in units)


@pytest.mark.parametrize(
    ("kind", "ops", "units", "least"),
    [
        (Branches, ["ReduceSum", "Greater", "If", "Gemm", "Relu", "Gemm", "Gemm", "Tanh", "Gemm"],
         [(False, "Gemm"), (True, "Gemm"), (True, "Gemm"), (True, "Gemm")], 30),
        (Counted, ["Gemm", "Tanh"] * 5, [(False, "Gemm")] * 5, 30),
        (UntilSmall, None, [(True, "Gemm"), (True, "Gemm")], 20),
    ],
)  # fmt: skip
def test_exported_control_flow_is_quantized(export, kind, ops, units, least):
    module, model = export(kind)
    prepared = float_model(model)
    if ops is not None:
        assert [node.op_type for node in all_nodes(prepared.graph)] == ops
    result = quantize(model, samples(64))
    verify(result)
    assert [(inside, "Gemm") for inside, _ in weighted(result)] == units
    backend, target = discover().resolve("cpu")
    executable = backend.load(backend.compile(result, target, CompileOptions(optimize=0)))
    (name,) = (info.name for info in result.outputs)
    exact, ours = [], []
    for feed in samples(16):
        with torch.no_grad():
            exact.append(module(torch.from_numpy(feed["x"])).numpy())
        np.testing.assert_allclose(evaluate(prepared, feed)[name], exact[-1], rtol=1e-4, atol=1e-5)
        ours.append(executable.run(feed)[name])
        np.testing.assert_allclose(ours[-1], evaluate(result, feed)[name], rtol=1e-4, atol=1e-5)
    assert sqnr(np.stack(exact), np.stack(ours)) > least
