"""Hexagon targets: placement asserted, the simulation's numbers, what is refused, and what is said without QNN."""

import numpy as np
import onnx
import pytest

from deepseek_backend_npu import versions
from deepseek_backend_npu.hexagon.checking import check, unsigned
from deepseek_backend_npu.hexagon.container import HexagonContainer
from deepseek_backend_npu.hexagon.htp import prepare
from deepseek_backend_npu.hexagon.variants import VARIANTS
from deepseek_backend_npu.hexagon.vendor import vendor_part
from deepseek_backend_npu.verification.networks import transposing_network
from deepseek_backend_npu.verification.sampling import OPS, sample
from deepseek_core import CompileOptions, QuantizedModel, Target, Tier, discover
from deepseek_core.errors import BackendError, ConfigError, PackageError, TargetError

TARGET = Target("npu", "hexagon-v73")
needs_qnn = pytest.mark.skipif(versions.qnn_problem() is not None, reason=f"{versions.qnn_problem()}")


@pytest.fixture(scope="module")
def backend():
    return discover().resolve("npu")[0]


@pytest.fixture(scope="module")
def convolution():
    drawn = (sample("Conv", seed) for seed in range(100))
    return next(s for s in drawn if s is not None and s.model.inputs[0].dtype == "int8" and check(s, TARGET).claimed)


def test_every_version_is_a_target(backend) -> None:
    devices = {target.device for target in backend.info.targets}
    assert set(VARIANTS) <= devices
    assert set(VARIANTS.values()) == {68, 69, 73, 75, 79, 81}


def test_without_qnn_a_target_says_what_is_missing_and_the_fix(backend, network, monkeypatch) -> None:
    monkeypatch.setattr(versions, "_version", lambda _: None)
    availability = backend.probe(TARGET)
    (missing,) = availability.missing
    assert not availability.can_compile
    assert availability.tier is None
    assert "[qnn]" in missing.fix
    with pytest.raises(BackendError, match="QNN plugin") as caught:
        backend.compile(network, TARGET, CompileOptions())
    assert "[qnn]" in (caught.value.fix or "")


@pytest.mark.parametrize("platform", [("darwin", "arm64"), ("linux", "aarch64")])
def test_a_machine_without_a_simulation_says_so(platform, monkeypatch) -> None:
    monkeypatch.setattr(versions, "_version", lambda _: "2.7.0")
    monkeypatch.setattr(versions.sys, "platform", platform[0])
    monkeypatch.setattr(versions.platform, "machine", lambda: platform[1])
    assert "no simulation" in (versions.qnn_problem() or "")


def test_unknown_versions_and_features_are_target_errors(backend) -> None:
    with pytest.raises(TargetError, match="hexagon-v66"):
        backend.capabilities(Target("npu", "hexagon-v66"))
    with pytest.raises(TargetError, match="sparse"):
        backend.capabilities(Target("npu", "hexagon-v73", ("sparse",)))


def test_options_and_taps_are_refused(backend, network) -> None:
    with pytest.raises(ConfigError, match="no option 'sram'"):
        backend.compile(network, TARGET, CompileOptions(extra={"sram": "1M"}))
    with pytest.raises(BackendError, match="values from inside"):
        backend.compile(network, TARGET, CompileOptions(taps=("conv3.y",)))


def test_the_vendors_part_has_codes_at_its_borders_and_no_fused_activation(network) -> None:
    part = vendor_part(network)
    graph = onnx.ModelProto.FromString(part.model).graph
    assert [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)] == [onnx.TensorProto.INT8] * 2
    feeders = {name: node.op_type for node in graph.node for name in node.output}
    assert {feeders[node.input[0]] for node in graph.node if node.op_type == "Relu"} == {"DequantizeLinear"}
    assert not any("/inner/" in (node.name or "") for node in network.graph), "the model itself is unchanged"


@needs_qnn
def test_a_network_runs_on_the_simulation_near_the_reference(backend, network, random_feeds) -> None:
    artifact = backend.compile(network, TARGET, CompileOptions())
    executable = backend.load(artifact)
    feeds = random_feeds(network)
    reference, target = discover().resolve("reference")
    expected = reference.load(reference.compile(network, target, CompileOptions())).run(feeds)
    assert executable.tier is Tier.SIMULATED
    assert "hexagon-v73" in executable.device
    for name, array in executable.run(feeds).items():
        difference = np.abs(array.astype(int) - expected[name].astype(int))
        assert difference.max() <= 3  # a code at most for each of several layers
        assert (difference == 0).mean() > 0.5


@needs_qnn
@pytest.mark.parametrize("op", OPS)
def test_what_is_claimed_is_placed_and_right(op) -> None:
    drawn = next(found for seed in range(9) if (found := sample(op, seed)) is not None)
    for unit in (drawn, unsigned(drawn)):
        verdict = check(unit, TARGET)
        assert verdict.agrees, f"{unit.text}: {verdict}"


@needs_qnn
@pytest.mark.parametrize("orders", [((0, 2, 1, 3), (0, 3, 2, 1)), ((0, 1, 3, 2), (0, 2, 1, 3)), ((0, 2, 1, 3),) * 2])
def test_transpositions_behind_each_other_are_placed_and_right(orders, backend, random_feeds) -> None:
    model = transposing_network((1, 8, 4, 6), *orders)
    feeds = random_feeds(model)
    (expected,) = feeds.values()
    for order in orders:
        expected = expected.transpose(order)
    (array,) = backend.load(backend.compile(model, TARGET, CompileOptions())).run(feeds).values()
    np.testing.assert_array_equal(array, expected)


@needs_qnn
def test_versions_have_contexts_of_their_own_and_equal_graphs_equal_ones(backend, convolution) -> None:
    one, again = (backend.compile(convolution.model, TARGET, CompileOptions()).payload for _ in range(2))
    other = backend.compile(convolution.model, Target("npu", "hexagon-v68"), CompileOptions()).payload
    assert one == again
    assert HexagonContainer.decode(one).context != HexagonContainer.decode(other).context


@needs_qnn
def test_a_context_is_all_that_the_artifact_runs(backend, convolution) -> None:
    context = HexagonContainer.decode(backend.compile(convolution.model, TARGET, CompileOptions()).payload).context
    assert {node.op_type for node in onnx.ModelProto.FromString(context).graph.node} == {"EPContext"}


@needs_qnn
def test_a_graph_that_qnn_does_not_place_is_an_error_and_no_fallback() -> None:
    unit = next(s for s in (sample("LeakyRelu", seed) for seed in range(9)) if s is not None)
    with pytest.raises(BackendError, match="cannot place") as caught:
        prepare(vendor_part(unit.model).model, 73)
    assert caught.value.fix


@needs_qnn
def test_a_damaged_artifact_and_a_wrong_context_are_one_line(backend, convolution) -> None:
    artifact = backend.compile(convolution.model, TARGET, CompileOptions())
    with pytest.raises(PackageError, match="checksum"):
        HexagonContainer.decode(artifact.payload[:-1] + b"\x01")
    with pytest.raises(PackageError, match="this is no Hexagon artifact"):
        HexagonContainer.decode(b"DSNP" + artifact.payload[4:])


@needs_qnn
def test_formats_of_the_device(backend, convolution) -> None:
    model: QuantizedModel = convolution.model
    onnx_form = backend.cross_compile(model, TARGET, "ep-context", CompileOptions())
    binary = backend.cross_compile(model, TARGET, "qnn-context", CompileOptions())
    assert binary.payload in onnx_form.payload
    assert backend.cross_compile(model, TARGET, "elf", CompileOptions()) is None


def test_no_cost_is_taken_from_the_simulation(backend, network) -> None:
    assert backend.cost(network.units(), TARGET) is None, "the core takes the roofline over the table"
