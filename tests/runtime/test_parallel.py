"""Parts side by side: who runs when and where, what they hand on, and that no thread stays."""

import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.ir.model import TensorInfo
from deepseek_core.partition import PreferenceSolver
from deepseek_core.pipeline import compile
from deepseek_core.runtime import PartError, Session
from deepseek_core.runtime.job import Job, run_here
from deepseek_core.runtime.lanes import Lanes
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import Step
from deepseek_core.target import Target, Tier

X = np.array([[-1, 0.5, 2]], np.float32)


class Wrapped:
    """An executable whose `run` is another function of (executable, feeds)."""

    def __init__(self, executable, run):
        self._it, self._run = executable, run

    def __getattr__(self, name):
        return getattr(self._it, name)

    def run(self, feeds):
        return self._run(self._it, feeds)


@pytest.fixture
def branches(fake, registry_of, graph_of):
    """x → Relu on npu and x → Erf on cpu, joined by Add on dsp; gives package, registry, npu, cpu, dsp."""
    nodes = [("Relu", ["x"], "r"), ("Erf", ["x"], "e"), ("Add", ["r", "e"], "y")]
    npu, cpu, dsp = fake("npu", ("Relu",)), fake("cpu"), fake("dsp", ("Add",))
    registry = registry_of(npu, cpu, dsp)
    package = compile(
        graph_of(nodes, {"x": (1, 3)}, ["y"]), ["npu", "dsp", "cpu"], registry=registry, solver=PreferenceSolver()
    )
    return package, registry, npu, cpu, dsp


def test_independent_parts_meet(branches):
    package, registry, npu, cpu, _dsp = branches
    meeting = threading.Barrier(2, timeout=20)

    def run(executable, feeds):
        if "x" in feeds:
            meeting.wait()  # passes only when both parts are running
        return executable.run(feeds)

    npu.wrap = cpu.wrap = lambda executable: Wrapped(executable, run)
    before = threading.active_count()
    with Session(package, registry) as session:
        assert threading.active_count() == before
        results = [session.run({"x": X})["y"] for _ in range(3)]
        assert threading.active_count() == before + 3
    assert threading.active_count() == before
    assert all(np.array_equal(results[0], result) for result in results)


def test_each_device_has_one_thread(branches):
    package, registry, npu, cpu, dsp = branches
    seen = {"npu": set(), "cpu": set(), "dsp": set()}

    def on(device):
        def run(executable, feeds):
            seen[device].add(threading.current_thread())
            return executable.run(feeds)

        return lambda executable: Wrapped(executable, run)

    npu.wrap, cpu.wrap, dsp.wrap = map(on, seen)
    with Session(package, registry) as session:
        callers = [threading.Thread(target=session.run, args=({"x": X},)) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert [len(threads) for threads in seen.values()] == [1, 1, 1]
    assert len(set.union(*seen.values())) == 3


def test_a_chain_needs_no_threads(fake, registry_of, diamond, packaged):
    package, registry, npu, cpu = packaged(diamond)
    seen = set()

    def run(executable, feeds):
        seen.add(threading.current_thread())
        return executable.run(feeds)

    npu.wrap = cpu.wrap = lambda executable: Wrapped(executable, run)
    with Session(package, registry) as session:
        session.run({"x": X})
    assert seen == {threading.current_thread()}


def test_arrays_are_handed_on_as_they_are(branches):
    package, registry, npu, cpu, dsp = branches
    given_, taken = {}, {}

    def run(executable, feeds):
        taken.update(feeds)
        results = executable.run(feeds)
        given_.update(results)
        return results

    npu.wrap = cpu.wrap = dsp.wrap = lambda executable: Wrapped(executable, run)
    with Session(package, registry) as session:
        result = session.run({"x": X})
        (streamed,) = session.stream([{"x": X}])
    assert taken["x"] is X
    assert taken["r"] is given_["r"]
    assert taken["e"] is given_["e"]
    assert streamed["y"] is given_["y"]
    assert not np.shares_memory(streamed["y"], result["y"])


def test_a_failure_names_its_part_and_stops_the_others(branches):
    package, registry, _npu, cpu, dsp = branches

    def lost(executable, feeds):
        raise RuntimeError("the bus is gone")

    cpu.wrap = lambda executable: Wrapped(executable, lost)
    before = threading.active_count()
    with Session(package, registry) as session:
        name = next(step.name for step in session._schedule.steps if step.target.backend == "cpu")
        with pytest.raises(PartError) as caught:
            session.run({"x": X})
    said = f"{name} on cpu:host (cpu 0) failed with RuntimeError: the bus is gone; check the device"
    assert str(caught.value).startswith(said)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert not dsp.opened[0].calls
    assert threading.active_count() == before


def test_a_forgotten_value_is_an_error_of_its_part(branches):
    package, registry, _npu, cpu, _dsp = branches
    cpu.wrap = lambda executable: Wrapped(executable, lambda *_: {})
    with Session(package, registry) as session, pytest.raises(PartError, match=r"output 'e' \(part\d_cpu should have"):
        session.run({"x": X})


class Sum:
    """Adds up what it takes, and one for itself; remembers what it gave."""

    tier = Tier.DEVICE

    def __init__(self, device, takes, gives, born):
        self.device, self._born = device, born
        self.inputs, self.outputs = ([TensorInfo(n, "int64", (2,)) for n in names] for names in (takes, gives))

    def run(self, feeds):
        assert list(feeds) == [info.name for info in self.inputs]
        total = sum(feeds.values(), np.ones(2, np.int64))
        results = {info.name: total + i for i, info in enumerate(self.outputs)}
        self._born.extend((name, weakref.ref(value)) for name, value in results.items())
        return results

    def close(self):
        return


@st.composite
def schedules(draw):
    """A random DAG of up to eight steps on up to three devices, each with one or two outputs."""
    born, values, steps = [], ["x0", "x1"], []
    for number in range(draw(st.integers(1, 8))):
        takes = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True))
        gives = [f"v{number}_{i}" for i in range(draw(st.integers(1, 2)))]
        device = f"d{draw(st.integers(0, 2))}"
        executable = Sum(device, takes, gives, born)
        steps.append(Step(number, Target("fake", device), executable, device, tuple(takes), tuple(gives)))
        values += gives
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True))
    return Schedule(steps, ("x0", "x1"), {}, tuple(outputs)), born


def in_order(schedule, feeds):
    """The plainest interpreter there is."""
    values = dict(feeds)
    for step in schedule.steps:
        values |= step.executable.run({name: values[name] for name in step.takes})
    return {name: values[name] for name in schedule.outputs}


@settings(max_examples=80, deadline=None)
@given(schedules(), st.integers(1, 4))
def test_any_graph_computes_the_same_in_any_order(made, inputs):
    schedule, _ = made
    feeds = [{"x0": np.full(2, i), "x1": np.arange(2) * i} for i in range(inputs)]
    expected = [in_order(schedule, fed) for fed in feeds]
    lanes, jobs = Lanes(), [Job(schedule, fed) for fed in feeds]
    with lanes.held():
        for job in jobs:
            lanes.start(job)
        streamed = [job.outcome.result() for job in jobs]
    alone = [run_here(schedule, fed) for fed in feeds]
    for want, *found in zip(expected, streamed, alone, strict=True):
        for outputs in found:
            assert list(outputs) == list(schedule.outputs)
            assert all(np.array_equal(outputs[name], want[name]) for name in want)


@settings(max_examples=60, deadline=None)
@given(schedules())
def test_what_nobody_needs_is_released(made):
    schedule, born = made
    job, lanes = Job(schedule, {"x0": np.zeros(2, int), "x1": np.ones(2, int)}), Lanes()
    with lanes.held():
        lanes.start(job)
        job.outcome.result()
    assert {name for name, value in born if value() is not None} <= set(schedule.outputs)


@settings(max_examples=40, deadline=None)
@given(schedules(), st.data())
def test_a_failing_step_fails_the_job_and_no_thread_stays(made, data):
    schedule, _ = made
    broken = data.draw(st.sampled_from(schedule.steps))

    def fail(feeds):
        raise OSError("lost")

    broken.executable.run = fail
    before, lanes = threading.active_count(), Lanes()
    with pytest.raises(PartError, match=f"{broken.name} on {broken.target} .* failed with OSError: lost") as caught:
        lanes.run(schedule, {"x0": np.zeros(2, int), "x1": np.zeros(2, int)})
    assert caught.value.step is broken
    lanes.close()
    assert threading.active_count() == before
