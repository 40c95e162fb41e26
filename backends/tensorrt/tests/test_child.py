"""The child process, when it does what it is asked, and when it dies over it."""

import io
import struct

import pytest

from deepseek_backend_tensorrt.child import Child, shared
from deepseek_backend_tensorrt.toolchain import toolchain
from deepseek_backend_tensorrt.vendor.wire import receive, send
from deepseek_core import CompileOptions, Target
from deepseek_core.errors import BackendError

TARGET = Target("tensorrt", "sm_90")
PLAIN = CompileOptions(optimize=0)


def test_a_message_comes_out_as_it_went_in() -> None:
    stream = io.BytesIO()
    send(stream, {"do": "x", "list": [1, 2.5, None]}, [b"abc", memoryview(b""), bytearray(b"\x00\xff")])
    send(stream, "second")
    stream.seek(0)
    assert receive(stream) == ({"do": "x", "list": [1, 2.5, None]}, [b"abc", b"", b"\x00\xff"])
    assert receive(stream) == ("second", [])
    with pytest.raises(EOFError):
        receive(stream)


@pytest.mark.parametrize(
    "data", [b"", b"123", struct.pack("<q", -1), struct.pack("<q", 9) + b"short", struct.pack("<q", 0)]
)
def test_what_is_no_message_is_the_end(data) -> None:
    with pytest.raises(EOFError):
        receive(io.BytesIO(data))


def test_a_death_is_one_error_with_the_last_words_and_the_next_request_lives(
    gpu, registry, network, monkeypatch
) -> None:
    backend = registry.backend("tensorrt")
    monkeypatch.setenv("FAKE_TENSORRT_DIES", "1")
    toolchain()  # the child is started here
    with pytest.raises(BackendError, match=r"process died over 'build' \(exit code 9\)"):
        backend.compile(network, TARGET, PLAIN)


def test_an_executable_of_a_dead_child_says_so(gpu, registry, network, feeds) -> None:
    backend = registry.backend("tensorrt")
    executable = backend.load(backend.compile(network, TARGET, PLAIN))
    shared().close()
    shared().ask({"do": "probe"})
    with pytest.raises(BackendError, match="died since the engine was opened"):
        executable.run(feeds)
    executable.close()


def test_an_interpreter_that_is_none_is_named(tmp_path) -> None:
    child = Child({"DEEPSEEK_TENSORRT_PYTHON": str(tmp_path / "no-python")})
    with pytest.raises(BackendError, match="cannot be started") as error:
        child.ask({"do": "probe"})
    assert "DEEPSEEK_TENSORRT_PYTHON" in error.value.fix


def test_a_bug_keeps_its_type(gpu) -> None:
    child = Child()
    with pytest.raises(RuntimeError, match="KeyError"):
        child.ask({"do": "no-such-request"})
    child.close()


def test_the_unit_that_is_refused_is_named_by_bisection(gpu, registry, network, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_REFUSES", "Concat")
    with pytest.raises(BackendError, match=r"does not build 'join' \(Concat\): 10: could not find any implementation"):
        registry.backend("tensorrt").compile(network, TARGET, PLAIN)


def test_so_is_one_that_the_parser_refuses(gpu, registry, network, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_PARSER_REFUSES", "GlobalAveragePool")
    with pytest.raises(BackendError, match=r"does not build 'mean' \(GlobalAveragePool\): the parser"):
        registry.backend("tensorrt").compile(network, TARGET, PLAIN)


def test_the_builders_measurements_are_kept_between_builds(gpu, registry, network, tmp_path, monkeypatch) -> None:
    backend = registry.backend("tensorrt")
    for _ in range(2):
        backend.compile(network, TARGET, PLAIN)
    (file,) = (tmp_path / "cache").glob("*.timing")
    assert file.name == "tensorrt-8.6.0-fake-h100.timing"
    assert file.read_bytes()[32:] == b"++", "each build was given what the one before left"
    file.write_bytes(b"damaged" * 9)
    backend.compile(network, TARGET, PLAIN)
    assert file.read_bytes()[32:] == b"+", "a damaged cache is not given to TensorRT"
    backend.compile(network, TARGET, CompileOptions(optimize=0, extra={"cache": "off"}))
    assert file.read_bytes()[32:] == b"+"
    monkeypatch.setenv("FAKE_TENSORRT_HATES_CACHES", "1")
    shared().close()
    backend.compile(network, TARGET, PLAIN)  # once more without the cache, which is then replaced
    assert file.read_bytes()[32:] == b"+"
