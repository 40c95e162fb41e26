"""Streams: order, back-pressure, and every way to end."""

import itertools
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from deepseek_core.errors import ConfigError, FeedError, PackageError
from deepseek_core.partition import PreferenceSolver
from deepseek_core.pipeline import compile
from deepseek_core.runtime import PartError, Session

NODES = [("Relu", ["x"], "a"), ("Erf", ["a"], "b"), ("Relu", ["b"], "y")]


class Knobs:
    """Wraps executables: counts calls, fails at the n-th, waits for a word."""

    def __init__(self, fail_at=None, gate=None):
        self.calls, self.fail_at, self.gate = itertools.count(), fail_at, gate
        self.finished = 0

    def __call__(self, executable):
        knobs = self

        class Knobbed:
            def __getattr__(self, name):
                return getattr(executable, name)

            def run(self, feeds):
                if next(knobs.calls) == knobs.fail_at:
                    raise TimeoutError("no answer")
                if knobs.gate is not None:
                    assert knobs.gate.wait(20)
                results = executable.run(feeds)
                knobs.finished += 1
                return results

        return Knobbed()


@pytest.fixture
def chain(graph_of, packaged):
    return packaged(graph_of(NODES, {"x": (1, 3)}, ["y"]))


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def feed(i):
    return {"x": np.full((1, 3), i, np.float32)}


@pytest.mark.parametrize("depth", [None, 1, 2, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 23])
def test_results_come_in_order(chain, depth, count):
    package, registry, *_ = chain
    with Session(package, registry) as session:
        threads = threading.active_count()
        expected = [session.run(feed(i / 10))["y"] for i in range(count)]
        streamed = [outputs["y"] for outputs in session.stream((feed(i / 10) for i in range(count)), depth)]
        assert threading.active_count() == threads
    np.testing.assert_array_equal(streamed, expected)


def test_a_single_part_streams_too(fake, registry_of, graph_of):
    registry = registry_of(fake("cpu"))
    package = compile(graph_of(NODES, {"x": (1, 3)}, ["y"]), ["cpu"], registry=registry)
    with Session(package, registry) as session:
        streamed = [outputs["y"] for outputs in session.stream(map(feed, range(9)))]
        expected = [session.run(feed(i))["y"] for i in range(9)]
    np.testing.assert_array_equal(streamed, expected)


def test_a_model_without_parts_streams_too(fake, registry_of, graph_of):
    registry = registry_of(fake("cpu"))
    package = compile(graph_of([], {"x": (1, 3)}, ["x"]), ["cpu"], registry=registry)
    with Session(package, registry) as session:
        assert [o["x"][0, 0] for o in session.stream(map(feed, range(5)))] == list(range(5))


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_the_source_is_pulled_only_when_there_is_room(chain, depth):
    package, registry, *_ = chain
    pulled = itertools.count()
    source = (feed(next(pulled)) for _ in itertools.count())
    with Session(package, registry) as session:
        stream = session.stream(source, depth)
        assert next(pulled) == 0  # nothing before the first result is asked for
        for fetched in range(1, 30):
            next(stream)
            so_far = next(pulled) - fetched  # each look at the counter counts as well
            assert so_far <= fetched - 1 + depth
        stream.close()


def test_devices_work_on_different_inputs_at_once(chain):
    """The second input is on the first device while the first one is on the second."""
    package, registry, npu, cpu = chain
    meeting = threading.Barrier(2, timeout=20)

    def wrap(executable):
        class Meeting:
            def __getattr__(self, name):
                return getattr(executable, name)

            def run(self, feeds):
                if any(name in feeds and feeds[name][0, 0] == value for name, value in (("x", 2), ("a", 1))):
                    meeting.wait()
                return executable.run(feeds)

        return Meeting()

    npu.wrap = cpu.wrap = wrap
    with Session(package, registry) as session:
        assert len(list(session.stream([feed(1), feed(2)], 2))) == 2


def test_closing_early_stops_everything(chain):
    package, registry, npu, cpu = chain
    npu.wrap = cpu.wrap = knobs = Knobs()
    with Session(package, registry) as session:
        threads = set(threading.enumerate())
        stream = session.stream(map(feed, itertools.count()), 5)
        next(stream)
        assert set(threading.enumerate()) > threads
        stream.close()
        assert set(threading.enumerate()) == threads
        done = knobs.finished
        assert next(knobs.calls) == done  # nothing is under way, nothing follows
        assert next(stream, None) is None
        assert session.run(feed(3))["y"].shape == (1, 3)


def test_closing_early_waits_for_running_steps_where_workers_stay(fake, registry_of, graph_of):
    knobs = Knobs()
    npu, cpu = fake("npu", ("Relu",), wrap=knobs), fake("cpu", wrap=knobs)
    registry = registry_of(npu, cpu)
    model = graph_of([("Relu", ["x"], "r"), ("Erf", ["x"], "e")], {"x": (1, 3)}, ["r", "e"])
    package = compile(model, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    with Session(package, registry) as session:
        session.run(feed(0))
        threads = set(threading.enumerate())
        for count in (1, 2, 5):
            stream = session.stream(map(feed, itertools.count()), 4)
            for _ in range(count):
                next(stream)
            stream.close()
            assert set(threading.enumerate()) == threads
            started = next(knobs.calls)
            knobs.calls = itertools.count(started)
            assert knobs.finished == started


def test_a_stream_that_is_never_begun(chain):
    package, registry, *_ = chain
    with Session(package, registry) as session:
        session.stream(map(feed, itertools.count()))


def test_an_error_of_the_source_comes_through(chain):
    package, registry, *_ = chain

    def source():
        yield feed(0)
        yield feed(1)
        raise LookupError("no more photographs")

    with Session(package, registry) as session:
        threads = set(threading.enumerate())
        with pytest.raises(LookupError, match="no more photographs"):
            list(session.stream(source(), 3))
        assert set(threading.enumerate()) == threads


def test_feeds_are_checked_when_they_are_pulled(chain):
    package, registry, *_ = chain
    with Session(package, registry) as session, pytest.raises(FeedError, match="there is no input 'z'"):
        list(session.stream([feed(0), {"z": feed(0)["x"]}], 1))


@pytest.mark.parametrize("depth", [1, 2, 6])
@pytest.mark.parametrize("fail_at", [0, 3])
def test_a_failing_device_raises_at_its_input(chain, depth, fail_at):
    package, registry, _npu, cpu = chain
    cpu.wrap = Knobs(fail_at=fail_at)
    results = []
    with Session(package, registry) as session:
        with pytest.raises(PartError, match=r"part1_cpu on cpu:host \(cpu 0\) failed with TimeoutError: no answer"):
            results.extend(session.stream(map(feed, range(50)), depth))
        assert len(results) == fail_at
        assert session.run(feed(1))["y"].shape == (1, 3)


def test_running_elsewhere_ends_the_stream(chain):
    package, registry, _npu, cpu = chain
    with Session(package, registry) as session:
        stream = session.stream(map(feed, itertools.count()), 1)
        next(stream)
        cpu.opened[0].device = "host processor"
        with pytest.raises(PartError, match=r"part 1, placed on cpu:host \(cpu 0\), ran on host processor"):
            next(stream)


def test_depth_must_leave_room(chain):
    package, registry, *_ = chain
    with Session(package, registry) as session, pytest.raises(ConfigError, match="depth 0 has no room"):
        session.stream([], 0)


def test_closing_the_session_ends_its_streams(chain):
    package, registry, npu, cpu = chain
    session = Session(package, registry)
    stream = session.stream(map(feed, itertools.count()), 3)
    next(stream)
    session.close()
    assert all(executable.closed for executable in (*npu.opened, *cpu.opened))
    with pytest.raises(PackageError, match="the session is closed"):
        list(stream)
    with pytest.raises(PackageError, match="the session is closed"):
        session.stream([])


def test_closing_the_session_wakes_who_waits(chain):
    package, registry, npu, _cpu = chain
    go_on, waiting = threading.Event(), threading.Event()
    npu.wrap = Knobs(gate=go_on)
    session = Session(package, registry)
    caught = []

    def source():
        yield feed(0)
        waiting.set()

    def consume():
        try:
            list(session.stream(source(), 4))
        except PackageError as error:
            caught.append(error.message)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert waiting.wait(20)
    closer = threading.Thread(target=session.close)
    closer.start()
    while not session._lanes._closed:
        pass
    go_on.set()
    closer.join(20)
    consumer.join(20)
    assert caught == ["the session is closed"]


def test_streams_and_runs_together(chain):
    package, registry, *_ = chain
    with Session(package, registry) as session:
        first, second = (session.stream(map(feed, range(20)), 3) for _ in range(2))
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            np.testing.assert_array_equal(a["y"], b["y"])
            np.testing.assert_array_equal(a["y"], session.run(feed(i))["y"])


def test_interruption(tmp_path):
    """Ctrl-C while waiting for a slow device: KeyboardInterrupt, and nothing runs on."""
    script = tmp_path / "stream.py"
    script.write_text(
        textwrap.dedent("""
        import itertools, signal, threading, time
        import numpy as np
        from deepseek_core.runtime.job import Job
        from deepseek_core.runtime.lanes import Lanes
        from deepseek_core.runtime.schedule import Schedule
        from deepseek_core.runtime.session import _Ticket
        from deepseek_core.runtime.gate import Gate
        from deepseek_core.runtime.step import Step
        from deepseek_core.runtime.stream import stream
        from deepseek_core.target import Target

        class Slow:
            device = "d"
            def run(self, feeds):
                print("running", flush=True)
                time.sleep(0.2)
                return {"y": feeds["x"]}

        schedule = Schedule([Step(0, Target("slow", "d"), Slow(), "d", ("x",), ("y",))], ("x",), {}, ("y",))
        lanes = Lanes()

        def begin(feeds):
            job = Job(schedule, feeds)
            lanes.start(job)
            return _Ticket(job, Gate(), None)

        try:
            for _ in stream(lanes, begin, itertools.repeat({"x": np.zeros(1)}), 100):
                pass
        except KeyboardInterrupt:
            print("interrupted", threading.active_count(), flush=True)
        """)
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(2):  # by the second all inputs are begun: a thread whose start is interrupted ends by itself
        assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out.replace("running\n", ""), err, process.returncode) == ("interrupted 1\n", "", 0)
