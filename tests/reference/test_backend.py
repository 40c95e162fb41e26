"""The registered backend: hooks, artifacts, refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from deepseek_core import Artifact, CompileOptions, Target, Tier
from deepseek_core.conformance import run as conformance_run
from deepseek_core.errors import BackendError, ConfigError, DeepseekError, ModelError, PackageError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.reference import evaluate, plugin
from deepseek_core.registry import Backend

TARGET = Target("reference", "numpy")
X = np.array([[1.0, -2.0]], np.float32)


@pytest.fixture(scope="module")
def backend():
    return Backend(plugin, "deepseek-core")


@pytest.fixture
def model(build):
    nodes = [helper.make_node("Neg", ["x"], ["a"], "neg"), helper.make_node("Relu", ["a"], ["y"], "relu")]
    proto = build(nodes, {"x": X}, [])
    proto.graph.output.append(helper.make_tensor_value_info("y", 1, [1, 2]))
    return load_model(proto)


def test_it_is_available_everywhere(backend):
    assert backend.targets == (TARGET,)
    found = backend.probe(TARGET)
    assert (found.can_compile, found.can_run, found.missing) == (True, True, ())
    assert found.tier is Tier.REFERENCE
    assert found.devices == ("numpy",)


def test_compile_load_and_run(backend, model):
    artifact = backend.compile(model, TARGET, CompileOptions())
    executable = backend.load(artifact)
    assert executable.tier is Tier.REFERENCE
    assert executable.device == "numpy"
    assert [i.name for i in executable.inputs] == ["x"]
    assert [o.name for o in executable.outputs] == ["y"]
    assert executable.run({"x": X})["y"].tolist() == [[0, 2]]
    executable.close()
    executable.close()


def test_taps_travel_in_the_artifact(backend, model):
    artifact = backend.compile(model, TARGET, CompileOptions(taps=("a",)))
    result = backend.load(artifact).run({"x": X})
    assert result["a"].tolist() == [[-1, 2]]
    np.testing.assert_array_equal(result["y"], evaluate(model, {"x": X})["y"])


def test_compiling_twice_gives_the_same_bytes_and_leaves_the_model_alone(backend, model):
    digest = model.digest()
    first, second = (backend.compile(model, TARGET, CompileOptions()) for _ in range(2))
    assert first.payload == second.payload
    assert model.digest() == digest


def test_external_weights_end_up_inside(backend, build, tmp_path):
    weight = np.arange(2000, dtype=np.float32)
    proto = build([helper.make_node("Add", ["x", "w"], ["y"])], {"x": weight}, ["y"], {"w": weight})
    ir.save(ir.from_proto(proto), tmp_path / "m.onnx", external_data="m.data")
    model = QuantizedModel(ir.load(tmp_path / "m.onnx"))
    artifact = backend.compile(model, TARGET, CompileOptions())
    (tmp_path / "m.data").unlink()
    np.testing.assert_array_equal(backend.load(artifact).run({"x": weight})["y"], 2 * weight)


def test_options_and_taps_it_does_not_know_are_refused(backend, model):
    with pytest.raises(ConfigError, match="no option 'speed'"):
        backend.compile(model, TARGET, CompileOptions(extra={"speed": "high"}))
    with pytest.raises(ModelError, match="'nothing' is no value"):
        backend.compile(model, TARGET, CompileOptions(taps=("nothing",)))


def test_other_devices_and_artifacts_are_refused(backend, model):
    artifact = backend.compile(model, TARGET, CompileOptions())
    with pytest.raises(BackendError, match="no device 'gpu'"):
        backend.load(artifact, "gpu")
    with pytest.raises(PackageError, match="built for cpu:x86_64"):
        backend.load(dataclasses.replace(artifact, target=Target("cpu", "x86_64")))
    with pytest.raises(PackageError, match="in format 'elf'"):
        backend.load(dataclasses.replace(artifact, format="elf"))
    with pytest.raises(PackageError, match="SHA-256 differs"):
        backend.load(dataclasses.replace(artifact, payload=artifact.payload[:-1]))


@pytest.mark.parametrize("payload", [b"", b"\x00", b"not a model", b"\x08\x0a\x3a\xff\xff\xff\xff\x0f"])
def test_a_payload_that_is_no_model_is_refused_in_one_line(backend, payload):
    with pytest.raises(PackageError, match="cannot be read") as caught:
        backend.load(Artifact(TARGET, payload, "onnx"))
    assert "\n" not in str(caught.value)


def test_damage_never_ends_in_a_crash(backend, model):
    """Flipped bytes under a matching hash: refused, or run to some result."""
    artifact = backend.compile(model, TARGET, CompileOptions())
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(400):
        payload = bytearray(artifact.payload)
        payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        try:
            executable = backend.load(Artifact(TARGET, bytes(payload), "onnx"))
            executable.run({info.name: X for info in executable.inputs})
        except DeepseekError as error:
            refusals.append(str(error))
    assert len(refusals) > 40
    assert not any("\n" in message for message in refusals)


def test_claims_say_what_does_not_run(backend, build):
    inner = helper.make_graph(
        [helper.make_node("Telepathy", ["x"], ["z"], "guess", domain="com.microsoft")],
        "then", [], [helper.make_tensor_value_info("z", 1, [1, 2])],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["u"])], "else", [], [helper.make_tensor_value_info("u", 1, [1, 2])]
    )
    nodes = [
        helper.make_node("Neg", ["x"], ["a"], "neg"),
        helper.make_node("If", ["c"], ["y"], "branch", then_branch=inner, else_branch=other),
    ]
    model = QuantizedModel(ir.from_proto(build(nodes, {"x": X, "c": np.array(True)}, ["a", "y"])))
    refusals = {}
    claimed = backend.claim(model, TARGET, lambda unit, reason: refusals.update({unit.name: reason}))
    assert [claim.units for claim in claimed] == [("neg",)]
    assert "guess" in refusals["branch"]


def test_it_conforms_to_its_own_table():
    """Contract cases, and one operator of each kind; the whole run is `deepseek conformance reference`."""
    report = conformance_run(Backend(plugin), TARGET, "contract/*")
    assert report.conforms, [r for r in report.results if r.status == "failed"]


def test_the_plugin_imports_nothing_heavy():
    code = "import sys, deepseek_core.reference.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "onnx", "onnx_ir"} & set(done.stdout.split())
