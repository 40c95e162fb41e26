"""Build a wheel of every distribution of this repository into `dist/`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_SOURCES = frozenset(("build", "dist", "out", "tests", "benchmarks", "docs"))
"""Top-level folders that go into no wheel; `build` above all, whose left-overs setuptools would pack again."""


def distributions(root: Path = ROOT) -> list[Path]:
    """Folders with a `pyproject.toml`: the core first, then backends, toolkit and examples by path."""
    nested = [
        p.parent for pattern in ("backends/*", "toolkit", "examples/*") for p in root.glob(f"{pattern}/pyproject.toml")
    ]
    return [root, *sorted(nested)]


def build(folder: Path, out: Path) -> None:
    """Build one wheel, from a clean copy of the sources and with the tools of this environment.

    Raises:
        SystemExit: the build failed; carries what the tools said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / folder.name
        shutil.copytree(folder, source, ignore=partial(_no_sources, folder))
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{folder}: the build failed\n{done.stdout}{done.stderr}")


def _no_sources(top: Path, folder: str, names: list[str]) -> set[str]:
    everywhere = {n for n in names if n.startswith(".") or n == "__pycache__" or n.endswith(".egg-info")}
    return everywhere | (NO_SOURCES.intersection(names) if Path(folder) == top else set())


def main() -> int:
    """Build all and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the wheels go (default: dist/)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.whl"):
        old.unlink()
    for folder in distributions():
        build(folder, out)
    for wheel in sorted(out.glob("*.whl")):
        print(f"{wheel.name}  {wheel.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
