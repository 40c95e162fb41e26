"""Targets, options, refusals, and what is said where Triton is missing."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from deepseek_backend_rocm import toolchain
from deepseek_backend_rocm.capabilities import capabilities
from deepseek_backend_rocm.targets import GPUS, TARGETS, gpu_of
from deepseek_core import CompileOptions, Target, discover
from deepseek_core.errors import BackendError, ConfigError, PackageError, TargetError
from deepseek_core.ir.frontend import load_model

_OPSET = helper.make_opsetid("", 21)
_FLOAT = TensorProto.FLOAT


def test_targets_are_listed_and_others_refused() -> None:
    registry = discover()
    assert [str(target) for target in TARGETS] == [f"rocm:{name}" for name in GPUS]
    assert str(registry.resolve("gfx942")[1]) == "rocm:gfx942"
    with pytest.raises(TargetError, match="rocm:gfx803"):
        registry.resolve("rocm:gfx803")
    with pytest.raises(TargetError, match="it has rocm:gfx90a"):
        gpu_of(Target("rocm", "gfx942", ("xnack",)))


def test_the_table_is_this() -> None:
    """Every op in its types: a change here is one for users."""
    rows = {
        (rule.op, str(rule.activation), str(rule.weight), str(rule.output)) for rule in capabilities(TARGETS[0]).rules
    }
    quantized = {op for op, activation, _, _ in rows if activation.startswith("int8")}
    real = {op for op, activation, weight, _ in rows if activation == "float32" and weight == "None"}
    assert len(quantized) == 46
    assert {"Conv", "Gemm", "MatMul", "Softmax", "LayerNormalization", "Resize", "Pad", "AveragePool"} <= quantized
    assert {"Add", "Gather", "Softmax", "LayerNormalization", "ReduceL2", "Sqrt"} <= real
    assert "Conv" not in real
    by_weight = {(op, weight) for op, activation, weight, _ in rows if activation == "float16"}
    assert {op for op, _ in by_weight} == {"Gemm", "MatMul"}
    assert len(by_weight) == 5
    unsigned = {(op, weight, output.replace("uint8", "int8")) for op, codes, weight, output in rows if "uint8" in codes}
    signed = {(op, weight, output) for op, codes, weight, output in rows if codes.startswith("int8")}
    assert unsigned == signed


def test_figures_of_a_card_are_those_of_its_data_sheet() -> None:
    """Peak int8 rates in 10^12 operations a second, two for a multiply-accumulate, as AMD's data sheets have them."""
    sheets = {"gfx90a": 181, "gfx942": 2615, "gfx950": 5033, "gfx1100": 123, "gfx1201": 389}
    for name, figure in sheets.items():
        assert 2 * GPUS[name].peak_macs / 1e12 == pytest.approx(figure, rel=0.01)


@pytest.mark.parametrize(
    ("extra", "said"),
    [({"speed": "1"}, "no option 'speed'"), ({"architectures": "gfx1100+gfx1"}, "rocm.architectures has 'gfx1'")],
)
def test_options_are_checked(network, extra, said) -> None:
    backend, target = discover().resolve("rocm:gfx942")
    with pytest.raises(ConfigError, match=said):
        backend.compile(network, target, CompileOptions(extra=extra))


def test_taps_are_refused(network) -> None:
    backend, target = discover().resolve("rocm:gfx942")
    with pytest.raises(BackendError, match="no values from inside"):
        backend.compile(network, target, CompileOptions(taps=("c1",)))


@pytest.mark.parametrize(("found", "said"), [(None, "not installed"), ("3.6.0", "Triton 3.6.0 is installed")])
def test_a_missing_compiler_is_one_line_with_the_fix(network, monkeypatch, found, said) -> None:
    monkeypatch.setattr(toolchain, "installed", lambda: found)
    backend, target = discover().resolve("rocm:gfx942")
    with pytest.raises(BackendError, match=said) as caught:
        backend.compile(network, target, CompileOptions())
    assert caught.value.fix == "pip install 'deepseek-backend-rocm[triton]'"


def test_every_refused_unit_is_named_at_once() -> None:
    backend, target = discover().resolve("rocm:gfx1100")
    inputs = [helper.make_tensor_value_info("x", _FLOAT, [4, 4])]
    nodes = [
        helper.make_node("Det", ["x"], ["d"], name="det"),
        helper.make_node("Einsum", ["x", "x"], ["e"], name="einsum", equation="ij,ij->"),
        helper.make_node("Add", ["d", "e"], ["y"], name="add"),
    ]
    outputs = [helper.make_tensor_value_info("y", _FLOAT, [])]
    model = helper.make_model(helper.make_graph(nodes, "odd", inputs, outputs), opset_imports=[_OPSET], ir_version=10)
    with pytest.raises(BackendError) as caught:
        backend.compile(load_model(model), target, CompileOptions())
    assert "'det': no rule for Det" in caught.value.message
    assert "'einsum': no rule for Einsum" in caught.value.message
    assert "'add'" not in caught.value.message


@pytest.mark.parametrize(
    ("node", "shapes", "said"),
    [
        (helper.make_node("Clip", ["x", "z"], ["y"], name="u"), ([3], []), "computed at run time"),
        (helper.make_node("Gelu", ["x"], ["y"], name="u", approximate="tanh"), ([3],), "approximate"),
        (helper.make_node("Add", ["x", "z"], ["y"], name="u"), ([1] * 7, [1]), "rank"),
    ],
)
def test_what_no_kernel_fits_is_refused_with_the_reason(node, shapes, said) -> None:
    inputs = [helper.make_tensor_value_info(n, _FLOAT, s) for n, s in zip(("x", "z"), shapes, strict=False)]
    outputs = [helper.make_tensor_value_info("y", _FLOAT, shapes[0])]
    model = load_model(
        helper.make_model(helper.make_graph([node], "one", inputs, outputs), opset_imports=[_OPSET], ir_version=10)
    )
    backend, target = discover().resolve("rocm:gfx942")
    reasons: list[str] = []
    assert not backend.claim(model, target, lambda unit, reason: reasons.append(reason))
    assert said in reasons[0]


def test_an_artifact_without_the_architecture_is_refused(fat) -> None:
    from deepseek_backend_rocm.container import FORMAT, encode
    from deepseek_core import Artifact

    backend, target = discover().resolve("rocm:gfx90a")
    with pytest.raises(PackageError, match="no code for gfx90a, but for gfx1100, gfx942"):
        backend.load(Artifact(target, encode(fat), FORMAT))
