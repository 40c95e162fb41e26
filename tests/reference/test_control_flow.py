"""If, Loop, Scan and SequenceMap."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from deepseek_core.errors import ModelError

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes, inputs, outputs, name="body"):
    return helper.make_graph(nodes, name, inputs, outputs)


def counting_loop(*, scan=True, stop_at=None):
    """total += i; each trip gives total (a scalar) and [total, −total]."""
    nodes = [
        helper.make_node("Cast", ["i"], ["step"], to=FLOAT),
        helper.make_node("Add", ["total_in", "step"], ["total"]),
        helper.make_node("Neg", ["total"], ["minus"]),
        helper.make_node("Unsqueeze", ["total", "zero"], ["one"]),
        helper.make_node("Unsqueeze", ["minus", "zero"], ["other"]),
        helper.make_node("Concat", ["one", "other"], ["pair"], axis=0),
        helper.make_node("Less", ["total", "limit"], ["more"]),
    ]
    outputs = [value("more", BOOL, []), value("total", FLOAT, [])]
    if scan:
        outputs += [value("total", FLOAT, []), value("pair", FLOAT, [2])]
    inner = body(nodes, [value("i", INT, []), value("c", BOOL, []), value("total_in", FLOAT, [])], outputs)
    results = ["last", "totals", "pairs"] if scan else ["last"]
    return helper.make_node("Loop", ["trips", "", "start"], results, body=inner), results


CONSTANTS = {"zero": np.array([0]), "start": np.array(10, np.float32)}


@pytest.mark.parametrize("trips", [1, 4])
def test_loop_carries_and_stacks(run, trips):
    node, outputs = counting_loop()
    result = run([node], {"trips": np.array(trips)}, outputs, CONSTANTS | {"limit": np.array(1e9, np.float32)})
    totals = 10 + np.cumsum(np.arange(trips))
    assert result["last"] == totals[-1]
    assert result["totals"].tolist() == totals.tolist()
    assert result["pairs"].tolist() == [[t, -t] for t in totals]


def test_loop_stops_on_its_condition(run):
    node, outputs = counting_loop()
    result = run([node], {"trips": np.array(100)}, outputs, CONSTANTS | {"limit": np.array(13, np.float32)})
    assert result["totals"].tolist() == [10, 11, 13]


def test_a_loop_without_trips_gives_its_input_and_nothing(run):
    node, outputs = counting_loop()
    result = run([node], {"trips": np.array(0)}, outputs, CONSTANTS | {"limit": np.array(0, np.float32)})
    assert result["last"] == 10
    assert result["totals"].shape == (0,)
    assert result["pairs"].shape == (0, 2)
    assert result["pairs"].dtype == np.float32


def scan_node(**attributes):
    """A running sum over slices; each slice gives the sum so far."""
    nodes = [helper.make_node("Add", ["state", "slice"], ["sum"]), helper.make_node("Identity", ["sum"], ["copy"])]
    inner = body(
        nodes,
        [value("state", FLOAT, [2]), value("slice", FLOAT, [2])],
        [value("sum", FLOAT, [2]), value("copy", FLOAT, [2])],
    )
    return helper.make_node("Scan", ["start", "x"], ["end", "sums"], body=inner, num_scan_inputs=1, **attributes)


X = np.array([[1, 2, 4], [10, 20, 40]], np.float32)
FORWARDS = np.array([[1, 10], [3, 30], [7, 70]], np.float32)
BACKWARDS = np.array([[4, 40], [6, 60], [7, 70]], np.float32)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"scan_input_axes": [1]}, FORWARDS),
        ({"scan_input_axes": [-1]}, FORWARDS),
        ({"scan_input_axes": [1], "scan_input_directions": [1]}, BACKWARDS),
        ({"scan_input_axes": [1], "scan_output_directions": [1]}, FORWARDS[::-1]),
        ({"scan_input_axes": [1], "scan_output_axes": [1]}, FORWARDS.T),
        ({"scan_input_axes": [1], "scan_output_axes": [-1], "scan_output_directions": [1]}, FORWARDS[::-1].T),
    ],
)
def test_scan_reads_along_any_axis_in_both_directions(run, attributes, expected):
    result = run([scan_node(**attributes)], {"x": X}, ["end", "sums"], {"start": np.zeros(2, np.float32)})
    assert result["end"].tolist() == [7, 70]
    np.testing.assert_array_equal(result["sums"], expected)


@pytest.mark.parametrize(("axis", "shape"), [(0, (0, 2)), (1, (2, 0)), (-1, (2, 0))])
def test_a_scan_over_nothing(run, axis, shape):
    node = scan_node(scan_output_axes=[axis])
    result = run([node], {"x": np.zeros((0, 2), np.float32)}, ["end", "sums"], {"start": np.ones(2, np.float32)})
    assert result["end"].tolist() == [1, 1]
    assert result["sums"].shape == shape


def test_streams_of_different_length_are_refused(run):
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"])]
    inner = body(nodes, [value("a", FLOAT, []), value("b", FLOAT, [])], [value("sum", FLOAT, [])])
    node = helper.make_node("Scan", ["x", "y"], ["z"], "scan", body=inner, num_scan_inputs=2)
    with pytest.raises(ModelError, match=r"node 'scan' \(Scan\): its inputs have \[2, 3\] slices"):
        run([node], {"x": np.zeros(2, np.float32), "y": np.zeros(3, np.float32)}, ["z"])


def test_the_batched_scan_of_opset_8_is_refused(run):
    with pytest.raises(ModelError, match="batched Scan of opset 8; export with opset 9"):
        run([scan_node()], {"x": X}, ["end"], {"start": np.zeros(2, np.float32)}, opset=8)


def test_nested_bodies_see_what_is_around_them(run):
    """A Loop in an If in a Loop; each reads values of every graph around it, and intermediate ones survive."""
    innermost = body(
        [helper.make_node("Add", ["s", "outer"], ["t"]), helper.make_node("Add", ["t", "middle"], ["u"]),
         helper.make_node("Identity", ["c3"], ["d3"])],
        [value("i3", INT, []), value("c3", BOOL, []), value("s", FLOAT, [])],
        [value("d3", BOOL, []), value("u", FLOAT, [])], "innermost",
    )  # fmt: skip
    then = body(
        [helper.make_node("Neg", ["acc"], ["middle"]),
         helper.make_node("Loop", ["two", "", "acc"], ["v"], body=innermost)],
        [], [value("v", FLOAT, [])], "then",
    )  # fmt: skip
    other = body([helper.make_node("Identity", ["acc"], ["w"])], [], [value("w", FLOAT, [])], "else")
    loop = body(
        [helper.make_node("If", ["c1"], ["acc_out"], then_branch=then, else_branch=other),
         helper.make_node("Identity", ["c1"], ["d1"])],
        [value("i1", INT, []), value("c1", BOOL, []), value("acc", FLOAT, [])],
        [value("d1", BOOL, []), value("acc_out", FLOAT, [])], "loop",
    )  # fmt: skip
    nodes = [helper.make_node("Neg", ["x"], ["outer"]), helper.make_node("Loop", ["two", "", "x"], ["y"], body=loop)]
    result = run(nodes, {"x": np.array(3, np.float32)}, ["y"], {"two": np.array(2)})
    accumulator = 3.0
    for _ in range(2):
        accumulator = accumulator + 2 * (-3 - accumulator)
    assert result["y"] == accumulator


def test_a_quantized_unit_in_a_loop_runs_on_codes(run):
    """x ← W · x with a requantization in every trip."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q_in", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["w_real"]),
        helper.make_node("MatMul", ["x", "w_real"], ["real"]),
        helper.make_node("QuantizeLinear", ["real", "ys", "z"], ["q"]),
        helper.make_node("Identity", ["c"], ["d"]),
    ]
    kind = TensorProto.INT8
    inner = body(
        nodes,
        [value("i", INT, []), value("c", BOOL, []), value("q_in", kind, [1, 2])],
        [value("d", BOOL, []), value("q", kind, [1, 2])],
    )
    loop = helper.make_node("Loop", ["three", "", "q0"], ["y"], body=inner)
    w = np.array([[3, 1], [-1, 2]], np.int8)
    constants = {"w": w, "s": np.float32(0.5), "ys": np.float32(0.5), "z": np.int8(0), "three": np.array(3)}
    result = run([loop], {"q0": np.array([[5, 7]], np.int8)}, ["y"], constants)["y"]
    codes = np.array([[5, 7]])
    for _ in range(3):
        codes = np.clip(np.rint(codes @ w.astype(int) / 2), -128, 127).astype(int)
    assert result.tolist() == codes.tolist()


def test_sequence_map(run):
    inner = body([helper.make_node("Add", ["a", "b"], ["c"])], [value("a"), value("b")], [value("c")])
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "y"], ["seq"]),
        helper.make_node("SequenceMap", ["seq", "y"], ["mapped"], body=inner),
        helper.make_node("ConcatFromSequence", ["mapped"], ["z"], axis=0),
    ]
    feeds = {"x": np.array([1], np.float32), "y": np.array([10], np.float32)}
    assert run(nodes, feeds, ["z"])["z"].tolist() == [11, 20]


def test_optionals(run):
    nodes = [
        helper.make_node("Optional", ["x"], ["full"]),
        helper.make_node("OptionalHasElement", ["full"], ["has"]),
        helper.make_node("OptionalGetElement", ["full"], ["y"]),
    ]
    result = run(nodes, {"x": np.array([2], np.float32)}, ["has", "y"], opset=18)
    assert result["has"]
    assert result["y"].tolist() == [2]
    kind = helper.make_tensor_type_proto(FLOAT, [1])
    empty = [
        helper.make_node("Optional", [], ["none"], type=kind),
        helper.make_node("OptionalGetElement", ["none"], ["y"], "get"),
    ]
    with pytest.raises(ModelError, match=r"'get' .* reads an empty optional"):
        run(empty, {"x": np.array([2], np.float32)}, ["y"], opset=18)
