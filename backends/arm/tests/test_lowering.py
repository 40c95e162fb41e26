"""Plans: where tensors lie, what is fused, how weights are packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_arm import settle
from deepseek_backend_arm.lowering import lower
from deepseek_backend_arm.lowering.weights import pack, tight
from deepseek_backend_arm.plan.abi import KERNELS, header
from deepseek_backend_arm.plan.memory import plan_memory
from deepseek_backend_arm.plan.program import ALIGNMENT, Buffer, Constants, Port, Step
from deepseek_backend_arm.settle import settled
from deepseek_core import CalibratorSpec, CompileOptions, discover
from deepseek_core.errors import BackendError
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import quantize


def test_the_small_network_becomes_these_kernels(network) -> None:
    program = lower(network)
    kernels = [step.kernel for step in program.steps]
    assert kernels == ["quantize", "copy", "conv", "depthwise", "conv", "pool2d", "table", "conv"]
    assert program.steps[4].memory["addend"] is program.steps[2].memory["y"]


@pytest.mark.parametrize("sums", ["pairs", "fours"])
def test_products_may_be_summed_either_way(network, toolchain, sample, expected, sums) -> None:
    backend, target = discover().resolve("arm:cortex-a72")
    executable = backend.load(backend.compile(network, target, CompileOptions(extra={"kernels": sums})))
    np.testing.assert_array_equal(executable.run({"x": sample})["y"], expected)
    executable.close()
    marked = [step.memory["tight"] for step in lower(network, CompileOptions(extra={"kernels": sums})).steps[2:5:2]]
    assert (marked[1] is not None) == (sums == "fours")


def test_taps_are_refused(network) -> None:
    backend, target = discover().resolve("arm64")
    with pytest.raises(BackendError, match="no values from inside"):
        backend.compile(network, target, CompileOptions(taps=("c1",)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=14))
def test_no_two_buffers_that_live_together_overlap(pieces) -> None:
    buffers = [Buffer(size) for size, _, _ in pieces]
    lives = [(min(a, b), max(a, b)) for _, a, b in pieces]
    steps = [
        Step("fill", {f"b{i}": b for i, b in enumerate(buffers) if lives[i][0] <= t <= lives[i][1]}, {})
        for t in range(9)
    ]
    plan = plan_memory(steps, [], [Port("y", "int8", (buffers[0].bytes,), buffers[0])])
    lives[0] = (lives[0][0], 9)
    for i, one in enumerate(buffers):
        assert one.place % ALIGNMENT == 0
        assert one.place + one.bytes <= plan.arena
        for j, other in enumerate(buffers[:i]):
            together = lives[i][0] <= lives[j][1] and lives[j][0] <= lives[i][1]
            apart = one.place + one.bytes <= other.place or other.place + other.bytes <= one.place
            assert apart or not together
    assert plan.arena >= plan.bound


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_every_weight_is_where_the_kernels_look_for_it(channels, depth, seed) -> None:
    rows = np.random.default_rng(seed).integers(-127, 128, (channels, depth)).astype(np.int8)
    packed, whole, panels = pack(rows), -(-depth // 16) * 16, -(-channels // 4)
    assert packed.size == panels * 4 * whole
    for channel in {0, channels - 1, channels // 2}:
        width = min(4, panels - channel // 16 * 4) * 64
        first = channel // 16 * 16 * whole + channel % 16 // 4 * 64 + channel % 4 * 16
        found = [packed[first + k // 16 * width + k % 16] for k in range(depth)]
        assert found == rows[channel].tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 127))
def test_blocks_marked_tight_never_overflow_16_bits(seed, reach) -> None:
    rows = np.random.default_rng(seed).integers(-reach, reach + 1, (4, 32)).astype(np.int8)
    worst = 128 * np.abs(rows.astype(np.int64)).reshape(4, 4, 8).sum(1).max()
    assert bool(tight(rows)[0, 0]) == (worst < 2**15)


def test_equal_constants_are_kept_once() -> None:
    constants = Constants()
    first, second = constants.add(np.arange(5)), constants.add(np.arange(5))
    assert first is second
    assert constants.add(np.arange(6)).place % ALIGNMENT == 0


def test_the_header_has_every_kernel() -> None:
    text = header()
    for kernel in KERNELS.values():
        assert f"}} ds_{kernel.name}_args;" in text


def test_a_row_of_constants_joins_the_product_before_it(toolchain) -> None:
    rng = np.random.default_rng(9)
    weights = {"w": rng.standard_normal((6, 10)).astype(np.float32), "b": rng.standard_normal(10).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"], "p"), helper.make_node("Add", ["b", "p"], ["y"], "y")]
    graph = helper.make_graph(
        nodes,
        "row",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    source = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    x = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    model = quantize(source, [x], targets=["arm:arm64"], calibrator=CalibratorSpec("minmax"))
    assert [step.kernel for step in lower(model).steps] == ["quantize", "conv"]
    results = []
    for name in ("arm:cortex-a72", "reference"):
        backend, target = discover().resolve(name)
        results.append(backend.load(backend.compile(model, target, CompileOptions())).run(x)["y"])
    np.testing.assert_array_equal(*results)


def test_what_onnx_cannot_fold_the_image_computes(toolchain) -> None:
    """onnx.reference gathers along 64 elements at most."""
    rng = np.random.default_rng(3)
    table, places = rng.standard_normal((1, 200)).astype(np.float32), rng.integers(0, 200, (1, 16))
    nodes = [
        helper.make_node("GatherElements", ["table", "places"], ["picked"], "picked", axis=1),
        helper.make_node("Add", ["x", "picked"], ["y"], "y"),
    ]
    graph = helper.make_graph(
        nodes,
        "folded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 16])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(places, "places")],
    )
    model = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    backend, target = discover().resolve("arm:cortex-a72")
    x = rng.standard_normal((4, 16)).astype(np.float32)
    found = backend.load(backend.compile(model, target, CompileOptions())).run({"x": x})["y"]
    np.testing.assert_array_equal(found, x + table[0, places])


def _added(node, *constants):
    """x + the result of a node that follows from constants."""
    graph = helper.make_graph(
        [node, helper.make_node("Add", ["x", node.output[0]], ["y"])],
        "settled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in zip(node.input, constants, strict=True)],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def test_what_onnx_computes_otherwise_is_not_folded() -> None:
    """Of three axes, onnx.reference's GlobalMaxPool takes the last two."""
    images = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    model = _added(helper.make_node("GlobalMaxPool", ["images"], ["largest"]), images)
    assert [node.op_type for node in settled(model).graph] == ["GlobalMaxPool", "Add"]


def test_what_is_too_large_is_not_computed_first(monkeypatch) -> None:
    monkeypatch.setattr(settle, "_evaluated", lambda node, opset: pytest.fail(f"{node.op_type} is computed"))
    model = _added(helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]), np.array([2**20, 1, 2**20]))
    assert [node.op_type for node in settled(model).graph] == ["ConstantOfShape", "Add"]
