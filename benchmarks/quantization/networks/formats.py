"""Token ids and weights, read by a child process in the environment that has the packages for it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quantization import environments
from quantization.networks.base import Feeds, load_arrays

__all__ = ["encode", "gguf", "safetensors"]

_JOB = Path(__file__).with_name("formats_job.py")


def encode(tokenizer: Path, texts: Sequence[str], length: int = 0) -> list[list[int]]:
    """Token ids of each text, cut to `length` where that is not 0, by a `tokenizer.json`."""
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "texts.json", Path(place) / "ids.json"
        source.write_text(json.dumps(list(texts)))
        _run("encode", str(tokenizer), str(length), str(source), str(target))
        found: list[list[int]] = json.loads(target.read_text())
        return found


def safetensors(file: Path) -> Feeds:
    """Arrays of a safetensors file as float32."""
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "weights.npz"
        _run("safetensors", str(file), str(target))
        return load_arrays(target)


def gguf(file: Path, tokenizer: Path) -> Feeds:
    """Arrays of a GGUF file, dequantized to float32; its tokenizer is written to `tokenizer`."""
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "weights.npz"
        _run("gguf", str(file), str(target), str(tokenizer))
        return load_arrays(target)


def _run(*arguments: str) -> None:
    command = [str(environments.python("formats")), str(_JOB), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[0]}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
