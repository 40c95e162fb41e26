"""Sessions: scheduling, order, devices, verdicts, threads and closing."""

import logging
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from deepseek_core.errors import BackendError, FeedError, PackageError
from deepseek_core.options import CompileOptions
from deepseek_core.package import Package
from deepseek_core.partition import PreferenceSolver
from deepseek_core.pipeline import compile
from deepseek_core.runtime import PartError, Session
from deepseek_core.target import Availability, Missing, Target, Tier

X = np.array([[-1, 0.5, 2]], np.float32)


def expected(x):
    from math import erf

    r = np.maximum(x, 0)
    return r + np.vectorize(erf)(r).astype(np.float32)


def two_targets(fake, registry_of, model, **options):
    npu, cpu = fake("npu", ("Relu", "Add")), fake("cpu")
    registry = registry_of(npu, cpu)
    package = compile(
        model, ["npu", "cpu"], registry=registry, solver=PreferenceSolver(), options=CompileOptions(**options)
    )
    return package, registry, npu, cpu


def test_parts_run_in_order(fake, registry_of, diamond):
    package, registry, npu, cpu = two_targets(fake, registry_of, diamond)
    with Session(package, registry) as session:
        result = session.run({"x": X})
        assert list(result) == ["y"]
        np.testing.assert_allclose(result["y"], expected(X), rtol=1e-6)
        assert session.tiers == (Tier.DEVICE,) * 3
        assert session.devices == ("npu 0", "cpu 0", "npu 0")
        assert session.rebuilt == ()
        assert [info.name for info in session.inputs] == ["x"]
        assert [info.name for info in session.outputs] == ["y"]
    assert [e.calls for e in npu.opened] == [[("x",)], [("r", "e")]]
    assert [e.calls for e in cpu.opened] == [[("r",)]]


def test_session_from_a_file(tmp_path, fake, registry_of, diamond):
    package, registry, *_ = two_targets(fake, registry_of, diamond)
    package.save(tmp_path / "a.ds")
    for path in (tmp_path / "a.ds", str(tmp_path / "a.ds")):
        with Session(path, registry) as session:
            np.testing.assert_allclose(session.run({"x": X})["y"], expected(X), rtol=1e-6)
    with pytest.raises(PackageError, match="No such file"):
        Session(tmp_path / "b.ds", registry)


def test_describe(fake, registry_of, diamond):
    package, registry, *_ = two_targets(fake, registry_of, diamond)
    with Session(package, registry) as session:
        first, second, third = session.describe()
    assert (str(second.target), second.device, second.tier, second.units) == ("cpu:host", "cpu 0", "device", ("erf1",))
    assert [i.name for i in third.inputs] == ["r", "e"]
    assert first.rebuilt == ""


def test_outputs_come_in_the_models_order(fake, registry_of, graph_of):
    nodes = [("Relu", ["x"], "r"), ("Erf", ["r"], "e"), ("Neg", ["x"], "n")]
    model = graph_of(nodes, {"x": (1, 3)}, ["n", "e", "r"])
    package, registry, *_ = two_targets(fake, registry_of, model)
    with Session(package, registry) as session:
        assert list(session.run({"x": X})) == ["n", "e", "r"]
    single = registry_of(fake("cpu"))
    with Session(compile(model, ["cpu"], registry=single), single) as session:
        assert list(session.run({"x": X})) == ["n", "e", "r"]


def test_single_part_in_another_order(fake, registry_of, graph_of):
    model = graph_of([("Relu", ["x"], "r"), ("Neg", ["x"], "n")], {"x": (1, 3)}, ["n", "r"])

    class Reversing:
        def __init__(self, executable):
            self._it = executable

        def __getattr__(self, name):
            return getattr(self._it, name)

        def run(self, feeds):
            return dict(reversed(self._it.run(feeds).items()))

    registry = registry_of(fake("cpu", wrap=Reversing))
    with Session(compile(model, ["cpu"], registry=registry), registry) as session:
        assert list(session.run({"x": X})) == ["n", "r"]


def test_inputs_and_constants_passed_through(fake, registry_of, graph_of):
    model = graph_of([("Relu", ["x"], "r")], {"x": (1, 3), "unused": (2,)}, ["x", "c", "r"], {"c": [7]})
    registry = registry_of(fake("cpu"))
    with Session(compile(model, ["cpu"], registry=registry), registry) as session:
        result = session.run({"x": X, "unused": np.zeros(2, np.float32)})
    assert list(result) == ["x", "c", "r"]
    np.testing.assert_array_equal(result["x"], X)
    np.testing.assert_array_equal(result["c"], [7])


def test_model_without_units(tmp_path, fake, registry_of, graph_of):
    model = graph_of([], {"x": (1, 3)}, ["x"])
    registry = registry_of(fake("cpu"))
    compile(model, ["cpu"], registry=registry).save(tmp_path / "a.ds")
    with Session(tmp_path / "a.ds", registry) as session:
        np.testing.assert_array_equal(session.run({"x": X})["x"], X)
        assert session.describe() == ()


def test_taps_are_further_outputs(fake, registry_of, diamond):
    package, registry, _npu, _ = two_targets(fake, registry_of, diamond, taps=("e", "x", "r"))
    with Session(package, registry) as session:
        result = session.run({"x": X})
        assert [info.name for info in session.outputs] == ["y", "e", "x", "r"]
        assert list(result) == ["y", "e", "x", "r"]
        np.testing.assert_array_equal(result["r"], np.maximum(X, 0))


def test_values_are_released_when_nobody_needs_them(fake, registry_of, graph_of):
    nodes = [("Relu", ["x"], "a"), ("Erf", ["a"], "b"), ("Relu", ["b"], "c"), ("Erf", ["c"], "d"), ("Relu", ["d"], "y")]
    model = graph_of(nodes, {"x": (1, 3)}, ["y"])
    born, alive = [], []

    class Watching:
        def __init__(self, executable):
            self._it = executable

        def __getattr__(self, name):
            return getattr(self._it, name)

        def run(self, feeds):
            alive.append(sum(ref() is not None for ref in born))
            results = self._it.run(feeds)
            born.extend(weakref.ref(value) for value in results.values())
            return results

    npu, cpu = fake("npu", ("Relu",), wrap=Watching), fake("cpu", wrap=Watching)
    registry = registry_of(npu, cpu)
    with Session(compile(model, ["npu", "cpu"], registry=registry, solver=PreferenceSolver()), registry) as session:
        session.run({"x": X})
    assert alive == [0, 1, 1, 1, 1]


def test_device_choice(fake, registry_of, diamond):
    package, registry, _npu, _cpu = two_targets(fake, registry_of, diamond)
    with Session(package, registry, device={"npu": "npu 1"}) as session:
        assert session.devices == ("npu 1", "cpu 0", "npu 1")
    registry = registry_of(fake("cpu"))
    with Session(compile(diamond, ["cpu"], registry=registry), registry, device="cpu 1") as session:
        assert session.devices == ("cpu 1",)


def test_opening_elsewhere_is_an_error(fake, registry_of, diamond):
    package, registry, npu, _cpu = two_targets(fake, registry_of, diamond)
    npu.device = "host processor"
    with pytest.raises(
        BackendError, match=r"part 0 is placed on npu:host, and opened on 'host processor' \(present: npu 0"
    ):
        Session(package, registry)
    assert [e.closed for e in npu.opened] == [1]


def test_another_tier_is_an_error(fake, registry_of, diamond):
    package, registry, _, cpu = two_targets(fake, registry_of, diamond)
    cpu.tier = Tier.SIMULATED
    with pytest.raises(BackendError, match="gives results of tier 'device' here, and opened with tier 'simulated'"):
        Session(package, registry)


def test_moving_while_running_is_an_error(fake, registry_of, diamond):
    package, registry, _npu, cpu = two_targets(fake, registry_of, diamond)
    with Session(package, registry) as session:
        session.run({"x": X})
        cpu.opened[0].device = "somewhere"
        with pytest.raises(BackendError, match=r"part 1, placed on cpu:host \(cpu 0\), ran on somewhere"):
            session.run({"x": X})


def test_parts_opened_before_a_failure_are_closed(fake, registry_of, diamond):
    def fail(executable):
        raise OSError("no device")

    package, registry, npu, cpu = two_targets(fake, registry_of, diamond)
    cpu.wrap = fail
    with pytest.raises(PartError, match="part1_cpu on cpu:host cannot be opened: OSError: no device"):
        Session(package, registry)
    assert [e.closed for e in npu.opened] == [1]


def test_rebuild_in_memory(fake, registry_of, diamond, caplog):
    package, registry, npu, cpu = two_targets(fake, registry_of, diamond, taps=("e",))
    cpu.here = replace(cpu.here, toolchain={"tool": "2"})
    before = npu.compiled, cpu.compiled
    with caplog.at_level(logging.WARNING), Session(package, registry) as session:
        assert session.rebuilt == ("it was built with tool 1, and 2 is installed here",)
        np.testing.assert_allclose(session.run({"x": X})["y"], expected(X), rtol=1e-6)
        assert "e" in session.run({"x": X})
        assert [info.rebuilt for info in session.describe()] == ["", session.rebuilt[0], ""]
    assert "part1_cpu for cpu:host is built again: it was built with tool 1" in caplog.text
    assert (npu.compiled, cpu.compiled) == (before[0], before[1] + 1)


def test_refusal(fake, registry_of, diamond):
    package, registry, npu, cpu = two_targets(fake, registry_of, diamond)
    npu.here = Availability(True, False, (Missing("the driver", "install it"),))
    with pytest.raises(PackageError, match=r"npu:host cannot run here \(the driver\); install it"):
        Session(package, registry)
    with pytest.raises(PackageError, match="pip install deepseek-backend-npu"):
        Session(package, registry_of(cpu))


def test_model_that_is_not_compiled(diamond, registry_of):
    with pytest.raises(PackageError, match="not compiled; run `deepseek compile`"):
        Session(Package(diamond), registry_of())


def test_artifacts_of_another_model(fake, registry_of, diamond, graph_of):
    package, registry, *_ = two_targets(fake, registry_of, diamond)
    other = graph_of([("Relu", ["z"], "q")], {"z": (1, 3)}, ["q"])
    with pytest.raises(PackageError, match=r"part 0 .* needs 'x', which nothing gives"):
        Session(replace(package, model=other), registry)
    other = graph_of([("Relu", ["x"], "q")], {"x": (1, 3)}, ["q"])
    with pytest.raises(PackageError, match="no part gives the output 'q'"):
        Session(replace(package, model=other), registry)


def test_executable_that_forgets_an_output(fake, registry_of, diamond):
    class Forgetting:
        def __init__(self, executable):
            self._it = executable

        def __getattr__(self, name):
            return getattr(self._it, name)

        def run(self, feeds):
            return {}

    registry = registry_of(fake("cpu", wrap=Forgetting))
    with (
        Session(compile(diamond, ["cpu"], registry=registry), registry) as session,
        pytest.raises(BackendError, match="no part gave the output 'y'"),
    ):
        session.run({"x": X})


def test_closing(fake, registry_of, diamond):
    package, registry, npu, cpu = two_targets(fake, registry_of, diamond)
    session = Session(package, registry)
    session.close()
    session.close()
    assert all(e.closed for e in (*npu.opened, *cpu.opened))
    with pytest.raises(PackageError, match="session is closed"):
        session.run({"x": X})


def test_closing_waits_for_running_calls(fake, registry_of, diamond):
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, executable):
            self._it = executable

        def __getattr__(self, name):
            return getattr(self._it, name)

        def run(self, feeds):
            inside.set()
            assert go_on.wait(10)
            assert not self._it.closed
            return self._it.run(feeds)

    cpu = fake("cpu", wrap=Slow)
    registry = registry_of(cpu)
    session = Session(compile(diamond, ["cpu"], registry=registry), registry)
    results = []
    runner = threading.Thread(target=lambda: results.append(session.run({"x": X})))
    closer = threading.Thread(target=session.close)
    runner.start()
    assert inside.wait(10)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    assert not cpu.opened[0].closed
    go_on.set()
    runner.join(10)
    closer.join(10)
    assert len(results) == 1
    assert cpu.opened[0].closed


def test_many_threads(fake, registry_of, diamond):
    package, registry, *_ = two_targets(fake, registry_of, diamond)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(50):
            x = rng.normal(size=(rng.integers(1, 5), 3)).astype(np.float32)
            if not np.allclose(session.run({"x": x})["y"], expected(x), rtol=1e-5):
                wrong.append(seed)

    with Session(package, registry) as session:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_feeds_are_checked(fake, registry_of, diamond):
    package, registry, *_ = two_targets(fake, registry_of, diamond)
    with Session(package, registry) as session, pytest.raises(FeedError, match="there is no input 'z'"):
        session.run({"z": X})


def test_unknown_device_in_the_package(fake, registry_of, diamond):
    package, registry, *_ = two_targets(fake, registry_of, diamond)
    moved = tuple(replace(a, target=Target("npu", "newer")) for a in package.artifacts)
    with pytest.raises(PackageError, match="has no target 'npu:newer'"):
        Session(replace(package, artifacts=moved), registry)
