"""The command line, called in this process and as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deepseek_core.cli import main


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def deepseek(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command in this process."""

    def call(*args: object) -> Answer:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture
def shell() -> Callable[..., Answer]:
    """Runs a command in a process of its own."""

    def call(*args: object, cwd: Path | None = None, **options: Any) -> Answer:
        command = [sys.executable, "-m", "deepseek_core.cli", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120, **options)
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, workspace: Callable[[Path], None]) -> Path:
    """A folder with a float model, samples, and the quantized and compiled packages of it. Not to be changed."""
    folder = tmp_path_factory.mktemp("filled")
    workspace(folder)
    assert main(["compile", f"{folder}/model.ds", "--targets", "cpu", "-o", f"{folder}/model.cpu.ds"]) == 0
    return folder
