"""Wheels of this repository, and empty environments to install them into."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees third-party packages but nothing of this repository."""

    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = str(self.folder / "bin" / command[0])
        return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, cwd=self.folder)

    def install(self, wheels: Path, *names: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python"), "install"]
        options = ["--quiet", "--no-index", "--no-compile", "--find-links", str(wheels)]
        done = subprocess.run([*pip, *options, *names], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def backends(self) -> dict[str, Any]:
        done = self.run("deepseek", "backends", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to everything installed here except this repository's own distributions."""
    folder = tmp_path_factory.mktemp("third_party")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("deepseek", "__editable__", "efficientnet_lite0")) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def environment(tmp_path: Path, third_party: Path) -> Environment:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "env" / "lib" / version / "site-packages" / "third_party.pth").write_text(str(third_party))
    return Environment(tmp_path / "env")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of every distribution, built once however many test processes there are."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "wheels"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")):
            command = [sys.executable, str(ROOT / "scripts" / "build_dists.py"), "--out", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder
