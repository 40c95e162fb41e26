"""Units that TVM compiles: what they compute in every form of a program, and what is said where it cannot be."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_arm.capabilities import capabilities
from deepseek_backend_arm.container import Container
from deepseek_backend_arm.emulator import find_qemu
from deepseek_backend_arm.linking import LinkedServer, write_linked
from deepseek_backend_arm.lowering import by_tvm
from deepseek_backend_arm.plan.linked import Function, Linked
from deepseek_backend_arm.server import Server
from deepseek_backend_arm.toolchain import find_toolchain
from deepseek_backend_arm.tvm import child, presence
from deepseek_backend_arm.tvm.compiled import BUFFER, CONSTANT, INPUT, Call, Compiled, Slot
from deepseek_backend_arm.tvm.node import alone
from deepseek_backend_arm.tvm.objects import strange_symbols, undefined_symbols
from deepseek_backend_arm.tvm.ops import OPS
from deepseek_core import CalibratorSpec, CompileOptions, QuantizedModel, Target, discover
from deepseek_core.cli.cross_compile import main as cross_compile
from deepseek_core.errors import BackendError, PackageError
from deepseek_core.ir.frontend import load_model
from deepseek_core.partition import claims
from deepseek_core.pipeline import quantize

pytestmark = pytest.mark.skipif(presence.absence() is not None, reason="TVM is not installed")
_F, _I, _B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_SHAPE, _GRID = (1, 6, 9, 7), (1, 4, 5, 2)
_TARGET = Target("arm", "arm64")

Infos = dict[str, tuple[int, tuple[int, ...]]]


def _onnx(nodes: list[onnx.NodeProto], inputs: Infos, outputs: Infos, *constants: onnx.TensorProto, opset: int = 21):
    infos = [[helper.make_tensor_value_info(n, *kind) for n, kind in found.items()] for found in (inputs, outputs)]
    graph = helper.make_graph(nodes, "odd", *infos, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _one(op: str, inputs: Infos, outputs: Infos, *constants: onnx.TensorProto, opset: int = 21, **attributes: object):
    """A model of one node, `unit`; constants follow its inputs."""
    names = [*inputs, *(constant.name for constant in constants)]
    node = helper.make_node(op, names, list(outputs), name="unit", **attributes)
    return load_model(_onnx([node], inputs, outputs, *constants, opset=opset))


def _network() -> onnx.ModelProto:
    """A convolution, two units of TVM with one of ours between them, a mean."""
    rng = np.random.default_rng(7)
    weights = rng.standard_normal((6, 3, 3, 3)).astype(np.float32) / 4
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("LRN", ["c"], ["l"], name="lrn", size=3, alpha=0.5),
        helper.make_node("Relu", ["l"], ["r"], name="relu"),
        helper.make_node("GridSample", ["r", "g"], ["s"], name="sample", mode="linear"),
        helper.make_node("GlobalAveragePool", ["s"], ["y"], name="mean"),
    ]
    inputs = {"x": (_F, (1, 3, 9, 7)), "g": (_F, _GRID)}
    return _onnx(nodes, inputs, {"y": (_F, (1, 6, 1, 1))}, numpy_helper.from_array(weights, "w"))


@pytest.fixture(scope="module")
def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 3, 9, 7)).astype(np.float32)
    return {"x": x, "g": rng.uniform(-1.2, 1.2, _GRID).astype(np.float32)}


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    return load_model(_network())


def _reference(model: QuantizedModel, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    backend, target = discover().resolve("reference")
    return backend.load(backend.compile(model, target, CompileOptions())).run(feeds)


def _run(model: QuantizedModel, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    backend, target = discover().resolve("arm64")
    executable = backend.load(backend.compile(model, target, CompileOptions()))
    try:
        assert str(executable.tier) in ("emulated", "device")
        return executable.run(feeds)
    finally:
        executable.close()


def _agree(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def test_a_program_computes_and_reports_them(model, feeds, toolchain) -> None:
    _agree(_run(model, feeds), _reference(model, feeds))
    backend, target = discover().resolve("arm64")
    artifact = backend.compile(model, target, CompileOptions())
    version = presence.tvm_version()
    assert artifact.report["tvm"] == {"version": version, "units": {"lrn": "LRN", "sample": "GridSample"}}
    assert artifact.toolchain["apache-tvm"] == version == backend.probe(target).toolchain["apache-tvm"]
    assert artifact.report["kernels"]["rconv"] == 1


def test_an_image_needs_nothing_else_and_names_them(feeds, toolchain, tmp_path, capsys) -> None:
    onnx.save(_network(), tmp_path / "net.onnx")
    words = ["--model", f"{tmp_path}/net.onnx", "--target", "arm64", "--output", f"{tmp_path}/firmware.bin", "--float"]
    assert cross_compile([*words, "--json"]) == 0
    assert "apache-tvm" in json.loads(capsys.readouterr().out)["toolchain"]
    run = [find_qemu(), "-cpu", "cortex-a53", f"{tmp_path}/firmware.bin"]
    (tmp_path / "firmware.bin").chmod(0o755)
    said = subprocess.run([*run, "--info"], capture_output=True, text=True, check=True).stdout
    assert "\nTVM      lrn, sample\n" in said
    for name, array in feeds.items():
        np.save(tmp_path / f"{name}.npy", array)
    words = [word for name in feeds for word in ("--input", f"{name}={tmp_path}/{name}.npy")]
    done = subprocess.run([*run, *words, "--output", f"{tmp_path}/y.npy", "--threads", "2"], check=False)
    assert done.returncode == 0
    _agree({"y": np.load(tmp_path / "y.npy")}, _reference(load_model(_network()), feeds))


def _unpacked(model: QuantizedModel, format: str, folder: Path) -> None:
    backend, target = discover().resolve("arm64")
    image = backend.cross_compile(model, target, format, CompileOptions())
    again = backend.cross_compile(model, target, format, CompileOptions())
    assert image.payload == again.payload
    with zipfile.ZipFile(io.BytesIO(image.payload)) as archive:
        archive.extractall(folder)


def test_a_library_links_with_its_example(model, toolchain, tmp_path) -> None:
    _unpacked(model, "lib", tmp_path)
    words = ["-O2", "example.c", "libmodel.a", "-lm", "-lpthread", "-static", "-o", "example"]
    find_toolchain().run(words, tmp_path)
    done = subprocess.run([find_qemu(), f"{tmp_path}/example"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:12]) == (0, "y: 24 bytes,")


def test_objects_fit_into_a_shared_library(model, toolchain, tmp_path) -> None:
    """As an ARM64 machine loads the runtime: code that lies anywhere."""
    backend, target = discover().resolve("arm64")
    table = Container.decode(backend.compile(model, target, CompileOptions()).payload).table
    words = ["-shared", "-Wl,-z,text,-z,defs", "-o", "units.so", *write_linked(table, tmp_path), "-lm", "-lc"]
    find_toolchain().run(words, tmp_path)
    assert (tmp_path / "units.so").read_bytes()[:4] == b"\x7fELF"


def test_sources_bring_objects_that_the_makefile_links_and_keeps(model, tmp_path) -> None:
    _unpacked(model, "c", tmp_path)
    objects = sorted(path.name for path in tmp_path.glob("*.obj"))
    makefile = (tmp_path / "Makefile").read_text()
    assert f"MADE = {' '.join(objects)}\n" in makefile
    assert "$(OBJECTS) $(MADE) -lm" in makefile
    assert "rm -f image $(OBJECTS)\n" in makefile
    assert "call_0" in (tmp_path / "linked.c").read_text()


def test_units_inside_of_branches(toolchain) -> None:
    kind = (_F, (1, 3, 4, 4))
    branches = [
        helper.make_graph(
            [helper.make_node("LRN", ["x"], [f"y{size}"], name=f"lrn{size}", size=size, alpha=0.5)],
            f"branch{size}",
            [],
            [helper.make_tensor_value_info(f"y{size}", *kind)],
        )
        for size in (1, 3)
    ]
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])
    model = load_model(_onnx([node], {"c": (_B, ()), "x": kind}, {"y": kind}))
    x = np.random.default_rng(1).standard_normal(kind[1]).astype(np.float32)
    for way in (True, False):
        feeds = {"c": np.array(way), "x": x}
        _agree(_run(model, feeds), _reference(model, feeds))


def test_codes_around_a_unit_become_real_numbers_and_codes_again(feeds, toolchain) -> None:
    samples = [{"x": feeds["x"] * factor} for factor in (1.0, 0.5, 1.5)]
    onnx_model = _network()
    del onnx_model.graph.node[2:]
    onnx_model.graph.input.pop()
    onnx_model.graph.output[0].CopyFrom(helper.make_tensor_value_info("l", _F, _SHAPE))
    model = quantize(onnx_model, samples, targets=["arm:arm64"], calibrator=CalibratorSpec("minmax"))
    assert any(u.op == "Conv" and u.inputs[0].qparams is not None for u in model.units())
    _agree(_run(model, {"x": feeds["x"]}), _reference(model, {"x": feeds["x"]}))


def test_units_of_built_ops_whose_weights_come_at_run_time(toolchain) -> None:
    image, rng = (_F, (1, 4, 6, 5)), np.random.default_rng(2)
    inputs = {"x": image, "w": (_F, (6, 2, 3, 3)), "t": (_F, (4, 2, 3, 3)), "s": (_F, (4,))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", group=2, pads=[1, 0, 1, 2], strides=[2, 1]),
        helper.make_node("ConvTranspose", ["x", "t"], ["b"], name="transposed", strides=[2, 2], group=2),
        helper.make_node("BatchNormalization", ["x", "s", "s", "s", "s"], ["d"], name="normal"),
        helper.make_node("IsInf", ["x"], ["e"], name="infinite"),
        helper.make_node("OneHot", ["i", "depth", "values"], ["f"], name="hot", axis=0),
        helper.make_node("EyeLike", ["s2"], ["h"], name="eye", k=1),
    ]
    constants = [numpy_helper.from_array(np.array(5), "depth"), numpy_helper.from_array(np.float32([-1, 2]), "values")]
    outputs = {"a": (_F, (1, 6, 3, 5)), "b": (_F, (1, 4, 13, 11)), "d": image, "e": (_B, image[1])}
    outputs |= {"f": (_F, (5, 3)), "h": (_F, (2, 3))}
    model = load_model(_onnx(nodes, {**inputs, "i": (_I, (3,)), "s2": (_F, (2, 3))}, outputs, *constants))
    feeds = {name: rng.uniform(0.5, 2, shape).astype(np.float32) for name, (_, shape) in inputs.items()}
    feeds |= {"i": np.array([4, -1, 2]), "s2": np.zeros((2, 3), np.float32)}
    feeds["x"][0, 0, 0, :2] = np.inf, -np.inf
    _agree(_run(model, feeds), _reference(model, feeds))


def test_ops_written_out_by_their_definitions(toolchain) -> None:
    heads, keys = (_F, (1, 4, 5, 16)), (_F, (1, 2, 7, 16))
    nodes = [
        helper.make_node("RotaryEmbedding", ["q", "cos", "sin", "i"], ["r"], name="rotated"),
        helper.make_node("Attention", ["r", "k", "v"], ["a"], name="attention", is_causal=1),
        helper.make_node("RMSNormalization", ["a", "g"], ["n"], name="normal"),
        helper.make_node("Swish", ["n"], ["y"], name="swish"),
        helper.make_node("CenterCropPad", ["y", "size"], ["z"], name="crop", axes=[2, 3]),
    ]
    inputs = {"q": heads, "k": keys, "v": keys, "cos": (_F, (9, 8)), "sin": (_F, (9, 8)), "g": (_F, (16,))}
    size = numpy_helper.from_array(np.array([8, 6]), "size")
    outputs = {"y": heads, "z": (_F, (1, 4, 8, 6))}
    model = load_model(_onnx(nodes, {**inputs, "i": (_I, (1, 5))}, outputs, size, opset=24))
    rng = np.random.default_rng(3)
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, (_, shape) in inputs.items()}
    feeds["i"] = np.array([[3, 0, 8, 8, 1]])
    _agree(_run(model, feeds), _reference(model, feeds))


def test_tensors_of_float16_and_an_output_that_nobody_reads(toolchain) -> None:
    half = (TensorProto.FLOAT16, (2, 9))
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["v", "i"], name="top"),
        helper.make_node("ScatterElements", ["x", "i", "u"], ["y"], name="scatter", axis=1),
    ]
    inputs = {"x": half, "u": (TensorProto.FLOAT16, (2, 3))}
    model = load_model(_onnx(nodes, inputs, {"y": half}, numpy_helper.from_array(np.array([3]), "k")))
    rng = np.random.default_rng(4)
    feeds = {name: rng.standard_normal(shape).astype(np.float16) for name, (_, shape) in inputs.items()}
    _agree(_run(model, feeds), _reference(model, feeds))


def test_places_outside_of_a_tensor_touch_nothing_else(toolchain) -> None:
    """As the last ones that there are: what TVM makes of them would write anywhere."""
    inputs = {"x": (_F, (4, 3)), "i": (_I, (3, 1)), "u": (_F, (3, 3))}
    model = _one("ScatterND", inputs, {"y": (_F, (4, 3))})
    x, u = np.zeros((4, 3), np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    far = np.array([[2**40], [-(2**40)], [1]])
    found = _run(model, {"x": x, "i": far, "u": u})["y"]
    np.testing.assert_array_equal(found, np.stack([u[1], u[2], x[0], u[0]]))
    node = helper.make_node("ScatterND", ["x", "far", "u"], ["y"])
    fixed = _onnx([node], {"x": inputs["x"], "u": inputs["u"]}, {"y": inputs["x"]}, numpy_helper.from_array(far, "far"))
    np.testing.assert_array_equal(_run(load_model(fixed), {"x": x, "u": u})["y"], found)


def test_equal_units_share_an_object() -> None:
    nodes = [
        helper.make_node("LRN", [x], [y], name=f"lrn_{y}", size=3) for x, y in (("x", "a"), ("a", "b"), ("b", "y"))
    ]
    nodes[2].attribute[0].i = 5
    backend, target = discover().resolve("arm64")
    model = load_model(_onnx(nodes, {"x": (_F, _SHAPE)}, {"y": (_F, _SHAPE)}))
    container = Container.decode(backend.compile(model, target, CompileOptions()).payload)
    assert len(container.objects) == 2
    assert len(set(container.functions)) == len(container.functions)
    assert list(map(len, container.table.objects)) == list(container.objects)


def test_a_runtime_that_refuses_leaves_nothing_behind(model, toolchain) -> None:
    backend, target = discover().resolve("arm64")
    container = Container.decode(backend.compile(model, target, CompileOptions()).payload)
    server = LinkedServer((str(find_qemu()), "-cpu", "cortex-a72"), container.table)
    with pytest.raises(BackendError, match="lacks an instruction set"):
        server.load(replace(container, level=2))
    assert not Path(server._command[-1]).exists()


def test_the_same_bytes_twice(model) -> None:
    found = [alone(u).model for u in model.units() if u.name == "lrn"]
    workers = [child.Child(), child.Child()]
    first, second = (worker.compile("ds_test", found[0]) for worker in workers)
    for worker in workers:
        worker.close()
    assert first == second
    assert "powf" in undefined_symbols(first.object)
    assert strange_symbols(first.object) == []
    assert Compiled.decode(first.encode()) == first


def test_functions_that_cannot_be_linked_leave_nothing_behind(toolchain, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(BackendError, match="the ARM64 compiler failed"):
        LinkedServer((str(find_qemu()),), Linked([], [Function("nowhere", 1)]))
    assert not list(tmp_path.iterdir())


def _refusal(model: QuantizedModel) -> str:
    """What the claim says; compiling says the same."""
    backend, target = discover().resolve("arm64")
    claimed, refused = claims(model, backend, target)
    assert not claimed
    with pytest.raises(BackendError) as caught:
        backend.compile(model, target, CompileOptions())
    assert f"'unit': {refused[0].reason}" in caught.value.message
    return refused[0].reason


def test_without_tvm_the_refusal_says_how_to_get_it(monkeypatch) -> None:
    model = _one("LRN", {"x": (_F, _SHAPE)}, {"y": (_F, _SHAPE)}, size=3)
    monkeypatch.setattr(presence, "tvm_version", lambda: None)
    assert _refusal(model) == "there is no kernel for LRN; TVM could compile it: pip install deepseek-backend-arm[tvm]"
    assert not capabilities(_TARGET).rules_for("LRN")
    monkeypatch.setattr(presence, "tvm_version", lambda: "0.18.0")
    assert "TVM 0.18.0 is installed, and 0.27.x could compile it: pip install" in _refusal(model)


def test_the_capability_table_names_what_it_compiles() -> None:
    assert {op for op in OPS if capabilities(_TARGET).rules_for(op)} == set(OPS)


def test_the_plugin_imports_no_tvm() -> None:
    code = "import sys, deepseek_backend_arm.plugin as p; p.capabilities(p.TARGETS[0]); assert 'tvm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            lambda: _one("IsInf", {"x": (_F, (4,))}, {"y": (_B, (4,))}, detect_negative=0),
            "there is no kernel for IsInf, and TVM tells no sign of infinity from the other",
        ),
        (lambda: _one("LRN", {"x": (_F, _SHAPE)}, {"y": (_F, _SHAPE)}, size=4), "there is no kernel for LRN"),
        (lambda: _one("Det", {"x": (_F, (4, 4))}, {"y": (_F, ())}), "there is no kernel for Det"),
        (
            lambda: _one("CumSum", {"x": (_F, (4, 4)), "a": (_I, ())}, {"y": (_F, (4, 4))}),
            "there is no kernel for CumSum; TVM: ",
        ),
        (
            lambda: _one(
                "ConvTranspose",
                {"x": (_F, (1, 2, 5, 5)), "w": (_F, (2, 3, 3, 3))},
                {"y": (_F, (1, 3, 10, 10))},
                strides=[2, 2],
                output_shape=[10, 10],
            ),
            "TVM gives 'y' the shape [1, 3, 11, 11], not [1, 3, 10, 10]",
        ),
    ],
)
def test_what_tvm_is_no_help_for_is_refused_by_name(model, said) -> None:
    assert said in _refusal(model())


def test_a_process_that_dies_is_a_refusal(monkeypatch) -> None:
    monkeypatch.setattr(child.sys, "executable", "false")
    with pytest.raises(child.NotCompiledError, match="ended with exit code"):
        child.Child().compile("ds_test", b"")


def test_an_answer_that_was_not_waited_for_is_not_the_next_ones(monkeypatch) -> None:
    def interrupt(stream, size):
        raise KeyboardInterrupt

    worker = child.Child()
    monkeypatch.setattr(child, "_taken", interrupt)
    with pytest.raises(KeyboardInterrupt):
        worker.compile("ds_test", b"")
    assert worker._process is None


def test_a_damaged_file_of_the_cache_counts_as_none(tmp_path) -> None:
    path, made = tmp_path / "arm" / "unit", Compiled((), (), (), b"", b"object")
    assert child.kept(path) is None
    child.keep(path, made.encode())
    assert child.kept(path) == made
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert child.kept(path) is None


def test_what_cannot_be_linked_is_told(monkeypatch) -> None:
    slots = tuple(Slot(BUFFER, "float32", (4,)) for _ in range(33))
    many = Compiled(slots, (Call("f", tuple(range(33))),), (0,), b"", b"")
    model = _one("LRN", {"x": (_F, _SHAPE)}, {"y": (_F, _SHAPE)}, size=3)
    monkeypatch.setattr(by_tvm, "compiled_for", lambda _: many)
    assert _refusal(model).endswith("TVM makes a function of 33 tensors, and 32 can be passed")
    kind = Compiled((Slot(INPUT, "float64", _SHAPE),), (), (0,), b"", b"")
    monkeypatch.setattr(by_tvm, "compiled_for", lambda _: kind)
    assert _refusal(model).endswith("TVM gives 'y' the type float64, not float32")
    monkeypatch.setattr(by_tvm, "strange_symbols", lambda _: ["TVMBackendParallelLaunch"])
    monkeypatch.setattr(by_tvm, "compiled_for", lambda _: Compiled((), (), (), b"", b"object"))
    assert _refusal(model).endswith("TVM's code calls TVMBackendParallelLaunch")


def test_symbols_are_read_from_an_object(native_compiler, tmp_path) -> None:
    text = "float sinf(float); int open(const char *, int); float f(void) { return open(0, 0) + sinf(1); }"
    (tmp_path / "f.c").write_text(text)
    subprocess.run([native_compiler, "-O0", "-fno-builtin", "-fno-pic", "-c", "f.c"], cwd=tmp_path, check=True)
    data = (tmp_path / "f.o").read_bytes()
    assert undefined_symbols(data) == ["open", "sinf"]
    assert strange_symbols(data) == ["open"]


def test_constants_of_a_unit_lie_where_its_slots_say() -> None:
    data = np.arange(6, dtype=np.int64).tobytes()
    made = Compiled((Slot(CONSTANT, "int64", (2, 2), 16),), (), (0,), data, b"")
    np.testing.assert_array_equal(made.constant(made.slots[0]), [[2, 3], [4, 5]])


def test_a_runtime_without_the_functions_refuses_the_program(model, toolchain) -> None:
    from deepseek_backend_arm.build import runtime_folder

    backend, target = discover().resolve("arm64")
    container = Container.decode(backend.compile(model, target, CompileOptions()).payload)
    assert len(container.functions) == len(container.table.functions) > 2
    server = Server([str(find_qemu()), str(runtime_folder() / "serve")])
    with pytest.raises(BackendError, match="names kernels that the runtime does not have"):
        server.load(container)
    server.close()


def test_names_of_functions_are_names(model) -> None:
    backend, target = discover().resolve("arm64")
    container = Container.decode(backend.compile(model, target, CompileOptions()).payload)
    assert Container.decode(replace(container, functions=(("f", 1),)).encode()).functions == (("f", 1),)
    with pytest.raises(PackageError, match="malformed"):
        Container.decode(replace(container, functions=(("f(); int g", 1),)).encode())
    with pytest.raises(PackageError, match="a function of 33 tensors"):
        Container.decode(replace(container, functions=(("f", 33),)).encode())
