"""Whatever is typed, the answer is a result or one line: never a traceback."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_core.cli import main
from deepseek_core.cli.app import COMMANDS

WORDS = st.sampled_from(
    [
        *("--json", "--input", "--output", "-o", "--targets", "--target", "--calib", "--method", "--set", "--pin"),
        *("--samples", "--limit", "--mean", "--std", "--size", "--layout", "--threshold", "--repeat", "--seed", "--"),
        *("--random", "--units", "--help", "--public-key", "--sign", "--pattern", "--device", "-h", "-x", "-"),
        *("junk.ds", "junk.onnx", "junk.npy", "junk.png", "folder", "nowhere", "", ".", "/dev/null", "a=b", "=", "a="),
        *(
            "1",
            "-1",
            "1e9",
            "nan",
            "cpu",
            "echo:v1",
            "cpu,echo",
            "::",
            "NCHW",
            "127,128",
            "nothing*",
            "\udc80é\n",
        ),
    ]
)


class _Stream(io.TextIOWrapper):
    """A stdout that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command=st.sampled_from(COMMANDS), words=st.lists(WORDS, max_size=6), content=st.binary(max_size=200))
def test_no_command_line_ends_in_a_traceback(tmp_path: Path, command: str, words: list[str], content: bytes) -> None:
    (tmp_path / "folder").mkdir(exist_ok=True)
    for suffix in ("ds", "onnx", "npy", "png"):
        (tmp_path / f"junk.{suffix}").write_bytes(content)
    arguments = [command, *words, "--pattern", "nothing"] if command == "conformance" else [command, *words]
    out, err = _Stream(), _Stream()
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    assert code in (0, 2), err.text()
    if code == 2:
        assert out.text() == ""
        assert len(err.text().splitlines()) == 1
        assert err.text().startswith("error: ")
