"""Lost devices: units are placed again, the input is repeated, and it is said aloud."""

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from deepseek_core.errors import PackageError, TargetError
from deepseek_core.package import Package
from deepseek_core.partition import PreferenceSolver
from deepseek_core.pipeline import compile
from deepseek_core.runtime import PartError, Session
from deepseek_core.target import Availability, Missing, Target

X = np.array([[-1, 0.5, 2]], np.float32)
LOST = Target("npu", "host")


def failing(*calls, of=None):
    """Wraps executables so that these calls fail, counted over all of them; `of`: for inputs with a value only."""
    count = iter(range(10**6))

    def wrap(executable):
        class Failing:
            def __getattr__(self, name):
                return getattr(executable, name)

            def run(self, feeds):
                n = next(count)
                if (not calls or n in calls) and (of is None or of(feeds)):
                    raise ConnectionError("the bus is gone")
                return executable.run(feeds)

        return Failing()

    return wrap


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def expected(diamond, fake, registry_of):
    registry = registry_of(fake("cpu"))
    with Session(compile(diamond, ["cpu"], registry=registry), registry) as session:
        yield lambda x: session.run({"x": x})["y"]


def test_units_of_a_lost_device_move(packaged, diamond, expected, caplog):
    package, registry, npu, cpu = packaged(diamond)
    npu.wrap = failing()
    with Session(package, registry, fallback=["cpu"]) as session:
        assert session.fallbacks == ()
        with caplog.at_level(logging.WARNING):
            result = session.run({"x": X})
        (record,) = session.fallbacks
        (part,) = session.describe()
        assert session.devices == ("cpu 0",)
        calls = len(npu.opened[0].calls)
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert session.fallbacks == (record,)
    np.testing.assert_array_equal(result["y"], expected(X))
    assert (record.part, record.lost, record.device) == ("part0_npu", LOST, "npu 0")
    assert record.reason == "part0_npu on npu:host (npu 0) failed with ConnectionError: the bus is gone"
    assert record.units == {"relu0": Target("cpu", "host"), "add2": Target("cpu", "host")}
    assert part.moved == str(record)
    assert caplog.messages == [f"{record.reason}; npu:host is given up, now 2 units on cpu:host"]
    assert len(npu.opened[0].calls) == calls
    assert all(executable.closed for executable in (*npu.opened, *cpu.opened))


def test_without_fallback_it_raises(packaged, diamond):
    package, registry, npu, _cpu = packaged(diamond)
    npu.wrap = failing(0)
    with Session(package, registry) as session:
        with pytest.raises(PartError, match="the bus is gone; check the device"):
            session.run({"x": X})
        assert session.run({"x": X})["y"].shape == X.shape
        assert session.fallbacks == ()
        assert [part.moved for part in session.describe()] == ["", "", ""]


def test_the_other_targets_of_the_package_are_a_fallback_too(packaged, diamond, expected):
    package, registry, npu, _cpu = packaged(diamond)
    npu.wrap = failing()
    with Session(package, registry, fallback=()) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert session.devices == ("cpu 0",)


def test_running_elsewhere_counts_as_lost(packaged, diamond, expected):
    package, registry, npu, _cpu = packaged(diamond)
    with Session(package, registry, fallback=["cpu"]) as session:
        npu.opened[-1].device = "host processor"
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert "ran on host processor" in session.fallbacks[0].reason


def test_parts_that_still_fit_are_kept(fake, registry_of, graph_of):
    nodes = [("Relu", ["x"], "a"), ("Erf", ["a"], "b"), ("Neg", ["b"], "y")]
    npu, dsp, cpu = fake("npu", ("Relu",)), fake("dsp", ("Erf",)), fake("cpu")
    registry = registry_of(npu, dsp, cpu)
    package = compile(
        graph_of(nodes, {"x": (1, 3)}, ["y"]), ["npu", "dsp", "cpu"], registry=registry, solver=PreferenceSolver()
    )
    dsp.wrap = failing(1)
    spare = fake("gpu", ("Erf",))
    registry = registry_of(npu, dsp, cpu, spare)
    with Session(package, registry, fallback=["gpu"]) as session:
        first = session.run({"x": X})
        second = session.run({"x": X})
        np.testing.assert_array_equal(first["y"], second["y"])
        assert session.devices == ("npu 0", "gpu 0", "cpu 0")
        assert [bool(part.moved) for part in session.describe()] == [False, True, False]
    assert [len(f.opened) for f in (npu, dsp, cpu, spare)] == [1, 1, 1, 1]
    assert (npu.compiled, spare.compiled, cpu.compiled) == (1, 1, 1)


def test_one_after_the_other(fake, registry_of, diamond, expected):
    npu, gpu, cpu = fake("npu", ("Relu", "Add")), fake("gpu", ("Relu", "Add"), wrap=failing(2)), fake("cpu")
    registry = registry_of(npu, gpu, cpu)
    npu.wrap = failing()
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    with Session(package, registry, fallback=["gpu", "npu", "cpu"]) as session:
        for _ in range(3):
            np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert [str(record.lost) for record in session.fallbacks] == ["npu:host", "gpu:host"]
        assert session.devices == ("cpu 0",)


def test_a_fallback_that_fails_as_well(fake, registry_of, diamond, expected):
    npu, gpu, cpu = (fake("npu", ("Relu", "Add"), wrap=failing()), fake("gpu", ("Relu",), wrap=failing()), fake("cpu"))
    registry = registry_of(npu, gpu, cpu)
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    with Session(package, registry, fallback=["gpu"]) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert [str(record.lost) for record in session.fallbacks] == ["npu:host", "gpu:host"]
        assert gpu.opened
        assert all(executable.closed for executable in gpu.opened)


def test_an_input_that_fails_everywhere_changes_nothing(packaged, diamond, expected):
    package, registry, npu, cpu = packaged(diamond)
    npu.wrap = cpu.wrap = failing(of=lambda feeds: np.isnan(next(iter(feeds.values()))).any())
    with Session(package, registry, fallback=["cpu"]) as session:
        for _ in range(2):
            message = r"part0_npu on .*bus is gone, and its units cannot go elsewhere: no target is left"
            with pytest.raises(PartError, match=message):
                session.run({"x": X * np.float32("nan")})
        assert session.fallbacks == ()
        assert session.devices == ("npu 0", "cpu 0", "npu 0")
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert sum(not executable.closed for executable in cpu.opened) == 1


def test_units_that_nothing_else_runs(fake, registry_of, diamond):
    npu, dsp = fake("npu", ("Relu", "Add"), wrap=failing()), fake("dsp", ("Erf",))
    registry = registry_of(npu, dsp)
    package = compile(diamond, ["npu", "dsp"], registry=registry, solver=PreferenceSolver())
    with Session(package, registry, fallback=["dsp"]) as session:
        message = (
            r"bus is gone, and its units cannot go elsewhere: 2 of 3 units run on no chosen target.*no rule for Relu"
        )
        with pytest.raises(PartError, match=message) as caught:
            session.run({"x": X})
        assert isinstance(caught.value.__cause__.__cause__, ConnectionError)


def test_a_fallback_that_is_not_there(packaged, diamond, fake, registry_of, expected):
    package, _, npu, cpu = packaged(diamond)
    gpu = fake("gpu", here=Availability(True, False, (Missing("the driver", "install it"),)))
    npu.wrap = failing()
    with Session(package, registry_of(npu, cpu, gpu), fallback=["gpu", "cpu"]) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert session.devices == ("cpu 0",)


def test_an_unknown_fallback(packaged, diamond):
    package, registry, npu, cpu = packaged(diamond)
    with pytest.raises(TargetError, match="no backend 'gpu'"):
        Session(package, registry, fallback=["gpu"])
    assert all(executable.closed for executable in (*npu.opened, *cpu.opened))


def test_a_fallback_that_opens_elsewhere(packaged, diamond):
    package, registry, npu, cpu = packaged(diamond)
    npu.wrap = failing()
    with Session(package, registry, fallback=["cpu"]) as session:
        cpu.device = "somewhere"
        with pytest.raises(PartError, match="cannot go elsewhere: part 0 is placed on cpu:host, and opened on 'somewh"):
            session.run({"x": X})
        assert cpu.opened[-1].closed


GONE = Availability(True, False, (Missing("the board", "plug it in"),))


def refusing(executable):
    raise OSError("no such board")


@pytest.mark.parametrize("absent", [True, False])
def test_a_device_that_cannot_be_opened(packaged, diamond, expected, caplog, absent):
    package, registry, npu, cpu = packaged(diamond)
    npu.here, npu.wrap = (GONE, npu.wrap) if absent else (npu.here, refusing)
    with caplog.at_level(logging.WARNING), Session(package, registry, fallback=["cpu"]) as session:
        (record,) = session.fallbacks
        assert (record.part, record.lost, record.device) == ("part0_npu", LOST, "")
        reason = "npu:host cannot run here (the board)"
        assert record.reason == (reason if absent else "part0_npu on npu:host cannot be opened: OSError: no such board")
        assert caplog.messages == [str(record)]
        assert session.devices == ("cpu 0",)
        assert session.describe()[0].moved == str(record)
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        np.testing.assert_array_equal([o["y"] for o in session.stream([{"x": X}] * 3)], [expected(X)] * 3)
    assert all(executable.closed for executable in cpu.opened)


def test_a_device_of_which_one_part_opens(packaged, diamond, expected):
    package, registry, npu, _cpu = packaged(diamond)
    npu.wrap = lambda executable: refusing(executable) if len(npu.opened) == 2 else executable
    with Session(package, registry, fallback=["cpu"]) as session:
        assert session.devices == ("cpu 0",)
        assert npu.opened[0].closed
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))


def test_a_fallback_that_does_not_open_either(fake, registry_of, diamond, expected):
    npu, gpu, cpu = fake("npu", ("Relu", "Add")), fake("gpu", ("Relu", "Add"), wrap=refusing), fake("cpu")
    registry = registry_of(npu, gpu, cpu)
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    npu.here = GONE
    with Session(package, registry, fallback=["gpu"]) as session:
        assert [str(record.lost) for record in session.fallbacks] == ["npu:host", "gpu:host"]
        assert session.devices == ("cpu 0",)
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))


def test_a_backend_that_is_not_installed(packaged, diamond, registry_of, expected):
    package, _, _npu, cpu = packaged(diamond)
    with pytest.raises(PackageError, match="no backend 'npu' is installed"):
        Session(package, registry_of(cpu))
    with Session(package, registry_of(cpu), fallback=["cpu"]) as session:
        assert "no backend 'npu' is installed" in session.fallbacks[0].reason
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))


def test_a_device_lost_after_another_did_not_open(fake, registry_of, diamond, expected):
    npu, gpu, cpu = fake("npu", ("Relu", "Add")), fake("gpu", ("Relu", "Add"), wrap=failing()), fake("cpu")
    registry = registry_of(npu, gpu, cpu)
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    npu.here = GONE
    with Session(package, registry, fallback=["gpu"]) as session:
        assert session.devices == ("gpu 0", "cpu 0", "gpu 0")
        np.testing.assert_array_equal(session.run({"x": X})["y"], expected(X))
        assert [str(record.lost) for record in session.fallbacks] == ["npu:host", "gpu:host"]


def test_a_device_that_cannot_be_opened_and_nothing_else(packaged, diamond):
    package, registry, npu, cpu = packaged(diamond)
    npu.here = GONE
    with pytest.raises(PackageError, match=r"npu:host cannot run here \(the board\); plug it in"):
        Session(package, registry)
    cpu.wrap = refusing
    message = r"the board\); part1_cpu on cpu:host cannot be opened: OSError.* cannot go elsewhere: no target is left"
    with pytest.raises(PackageError, match=message):
        Session(package, registry, fallback=[])
    assert all(executable.closed for executable in npu.opened)


def test_a_package_that_is_not_compiled(diamond, registry_of, fake):
    with pytest.raises(PackageError, match="not compiled"):
        Session(Package(diamond), registry_of(fake("cpu")), fallback=["cpu"])


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("fail_at", [0, 5, 17])
def test_a_stream_goes_on(packaged, diamond, expected, depth, fail_at):
    package, registry, npu, _cpu = packaged(diamond)
    npu.wrap = failing(*range(fail_at, 1000))
    inputs = [X * i for i in range(12)]
    with Session(package, registry, fallback=["cpu"]) as session:
        streamed = [outputs["y"] for outputs in session.stream(({"x": x} for x in inputs), depth)]
        assert len(session.fallbacks) == 1
        assert session.devices == ("cpu 0",)
    np.testing.assert_array_equal(streamed, [expected(x) for x in inputs])


def test_threads_agree_on_one_fallback(packaged, diamond, expected):
    package, registry, npu, cpu = packaged(diamond)
    npu.wrap = failing()
    results = []
    with Session(package, registry, fallback=["cpu"]) as session:
        threads = [threading.Thread(target=lambda: results.append(session.run({"x": X})["y"])) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(session.fallbacks) == 1
    assert len(results) == 6
    assert all(np.array_equal(result, expected(X)) for result in results)
    assert cpu.compiled == 2


def test_taps_move_along(fake, registry_of, diamond):
    npu, cpu = fake("npu", ("Relu", "Add"), wrap=failing()), fake("cpu")
    registry = registry_of(npu, cpu)
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    options = replace(package.options, taps=("r", "e"))
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver(), options=options)
    with Session(package, registry, fallback=["cpu"]) as session:
        assert list(session.run({"x": X})) == ["y", "r", "e"]
        assert [info.name for info in session.outputs] == ["y", "r", "e"]
