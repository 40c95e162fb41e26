"""The same artifact gives the same codes on x86 CPUs with and without dot-product instructions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from deepseek_backend_cpu import saturation
from deepseek_backend_cpu.host import architecture
from deepseek_backend_cpu.lowering import lower
from deepseek_backend_cpu.saturation import store_weights_unsigned
from deepseek_backend_cpu.session import open_session
from deepseek_backend_cpu.tuning.measurer import serialize

QEMU = shutil.which("qemu-x86_64")
emulated = pytest.mark.skipif(
    architecture() != "x86_64" or QEMU is None,
    reason="needs qemu-x86_64 to emulate a CPU without VNNI: apt install qemu-user",
)

HASWELL = """
import json, sys
import numpy as np
from deepseek_backend_cpu.saturation import open_exact, saturates
from deepseek_backend_cpu.session import open_session
from deepseek_backend_cpu.tuning.measurer import serialize
results = {"saturates": saturates()}
for opener in (open_session, open_exact):
    session = opener(open(sys.argv[1], "rb").read(), threads=1)
    feeds = dict(np.load(sys.argv[2]))
    names = [output.name for output in session.get_outputs()]
    results[opener.__name__] = {n: a.tolist() for n, a in zip(names, session.run(names, feeds))}
print(json.dumps(results))
"""


def extreme(shape, seed=0):
    """Weights whose products with 255 overflow 16 bits in pairs."""
    return np.random.default_rng(seed).choice(np.array([-128, -127, 126, 127], np.int8), shape)


@pytest.fixture
def network(builder):
    """One unit of each kind that multiplies, side by side; scales that saturation shows in."""
    image, rows = builder.input("image", (1, 32, 5, 5), np.uint8), builder.input("rows", (4, 64), np.uint8)
    x, y = builder.dq(image, 1.0, 3), builder.dq(rows, 1.0, 0)
    per_channel = builder.weight(extreme((8, 32, 3, 3)), np.linspace(0.5, 1.0, 8), axis=0)
    grouped = builder.weight(extreme((32, 8, 1, 1)), 1.0)
    depthwise = builder.weight(extreme((32, 1, 3, 3)), 1.0)
    columns = builder.weight(extreme((64, 24)), np.linspace(0.5, 1.0, 24), axis=1)
    plain = builder.weight(extreme((8, 64)), 1.0)
    sums = [
        builder.op("Conv", x, per_channel, name="conv"),
        builder.op("Conv", builder.dq(image, 1.0, 3), grouped, name="grouped", group=4),
        builder.op("Conv", builder.dq(image, 1.0, 3), depthwise, name="depthwise", group=32),
        builder.op("MatMul", y, columns, name="matmul"),
        builder.op("Gemm", builder.dq(rows, 1.0, 0), plain, name="gemm", transB=1),
    ]
    for value, steps in zip(sums, (32 * 9, 8, 9, 64, 64), strict=True):
        builder.output(builder.q(value, steps * 255.0, 128), f"{value.name}.q")
    floating = builder.op("MatMul", builder.dq(rows, 1.0, 0), builder.weight(extreme((64, 24)), 1.0), name="float")
    builder.output(floating)
    return builder.model()


@pytest.fixture
def feeds():
    generator = np.random.default_rng(0)
    image = generator.choice(np.array([0, 254, 255], np.uint8), (1, 32, 5, 5))
    return {"image": image, "rows": generator.choice(np.array([254, 255], np.uint8), (4, 64))}


def lowered(model) -> bytes:
    work = model.clone()
    lower(work, {unit.name for unit in work.units()})
    return serialize(work)


def run(payload, feeds):
    session = open_session(payload, threads=1)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def test_unsigned_weights_give_the_same_codes(network, feeds, cpu) -> None:
    payload = lowered(network)
    shifted = store_weights_unsigned(payload)
    found, expected = run(shifted, feeds), cpu.expected(network, feeds)
    for name, array in expected.items():
        assert (found[name] == array).all(), name
    types = {i.name: i.data_type for i in onnx.load_from_string(shifted).graph.initializer}
    weights = {n.input[3] for n in onnx.load_from_string(shifted).graph.node if n.op_type.startswith("QL")}
    assert {types[name] for name in weights} == {onnx.TensorProto.UINT8}


def test_weights_that_cannot_overflow_stay_signed(builder) -> None:
    x = builder.codes("x", (2, 3))
    safe = builder.weight(np.array([[-64, 63, 0]] * 5, np.int8), 0.1)
    builder.output(builder.q(builder.op("Gemm", x, safe, name="unit", transB=1)), "y")
    payload = lowered(builder.model())
    shifted = onnx.load_from_string(store_weights_unsigned(payload))
    (node,) = shifted.graph.node
    (weight,) = [i for i in shifted.graph.initializer if i.name == node.input[3]]
    assert weight.data_type == onnx.TensorProto.INT8


def test_a_model_without_integer_operators_stays_as_it_is(builder) -> None:
    builder.output(builder.op("Exp", builder.input("x", (2,))), "y")
    payload = serialize(builder.model())
    assert onnx.load_from_string(store_weights_unsigned(payload)) == onnx.load_from_string(payload)


@pytest.mark.parametrize("saturating", [True, False])
def test_only_cpus_that_saturate_change_the_weights(monkeypatch, network, saturating) -> None:
    opened = []
    monkeypatch.setattr(saturation, "saturates", lambda: saturating)
    monkeypatch.setattr(saturation, "open_session", lambda payload, **settings: opened.append((payload, settings)))
    payload = lowered(network)
    saturation.open_exact(payload, threads=2)
    ((opened_payload, settings),) = opened
    assert (opened_payload != payload) == saturating
    assert settings.get("precise", False) == saturating
    assert settings["threads"] == 2


def on_haswell(*arguments) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [QEMU, "-cpu", "Haswell", sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@emulated
def test_emulated_haswell_agrees_bit_for_bit(cpu, network, feeds, tmp_path) -> None:
    """Machine code of an AVX2 CPU without VNNI, interpreted: it saturates, and the shifted weights do not."""
    artifact = cpu.compile(network, "int8")
    (tmp_path / "model.onnx").write_bytes(artifact.payload)
    np.savez(tmp_path / "feeds.npz", **feeds)
    (tmp_path / "haswell.py").write_text(HASWELL)
    results = json.loads(on_haswell(tmp_path / "haswell.py", tmp_path / "model.onnx", tmp_path / "feeds.npz"))
    expected = {name: array.tolist() for name, array in cpu.expected(network, feeds).items()}
    assert results["saturates"]
    assert results["open_exact"] == expected
    for name in ("conv.out0.q", "grouped.out0.q", "matmul.out0.q", "gemm.out0.q", "float.out0"):
        assert results["open_session"][name] != expected[name], f"{name} does not show the saturation"


@emulated
def test_emulated_haswell_conforms() -> None:
    """The conformance kit's accumulator cases of the preferred scheme, on the emulated CPU."""
    script = (
        "from deepseek_core import conformance, discover\n"
        "backend, target = discover().resolve('cpu')\n"
        "for op in ('Conv', 'Gemm', 'MatMul'):\n"
        "    report = conformance.run(backend, target, f'numerics/{op}/uint8-int8pc-uint8/*accumulator*')\n"
        "    assert report.conforms, report.verdict\n"
        "    print(report.verdict)\n"
    )
    verdicts = on_haswell("-c", script).splitlines()
    assert len(verdicts) == 3
    assert all("CONFORMS" in line for line in verdicts)
