"""The wheels, as a user gets them: installed into an empty environment, one backend at a time."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NESTED = [
    manifest
    for pattern in ("backends/*", "toolkit", "examples/*")
    for manifest in sorted(ROOT.glob(f"{pattern}/pyproject.toml"))
]
MANIFESTS = [ROOT / "pyproject.toml", *NESTED]
PROJECTS = {m.parent: tomllib.loads(m.read_text())["project"] for m in MANIFESTS}
BACKENDS = {
    project["name"]: list(project["entry-points"]["deepseek.backends"])
    for project in PROJECTS.values()
    if project["name"].startswith("deepseek-backend-")
}


def _wheel(wheels: Path, project: str) -> zipfile.ZipFile:
    (found,) = wheels.glob(f"{project.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(found)


def test_there_are_backends_to_test() -> None:
    assert {"deepseek-backend-cpu", "deepseek-backend-echo"} <= set(BACKENDS)


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: PROJECTS[folder]["name"])
def test_a_wheel_holds_every_file_of_its_packages_and_nothing_else(wheels: Path, folder: Path) -> None:
    with _wheel(wheels, PROJECTS[folder]["name"]) as wheel:
        packed = {n for n in wheel.namelist() if ".dist-info/" not in n}
    source = folder / "src" if (folder / "src").is_dir() else folder
    packages = [source / "deepseek_core"] if folder == ROOT else [p for p in source.iterdir() if p.suffix == ""]
    files = {p.relative_to(source) for package in packages for p in package.rglob("*") if p.is_file()}
    assert packed == {str(path) for path in files if path.suffix != ".pyc"}


@pytest.mark.parametrize("project", ["deepseek-core", "deepseek", *BACKENDS])
def test_wheels_are_typed(wheels: Path, project: str) -> None:
    with _wheel(wheels, project) as wheel:
        assert any(name.endswith("/py.typed") for name in wheel.namelist())


def test_the_core_carries_its_licence(wheels: Path) -> None:
    with _wheel(wheels, "deepseek-core") as wheel:
        (licence,) = [name for name in wheel.namelist() if name.endswith("LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_core_alone_has_its_reference_backend(environment, wheels: Path) -> None:
    environment.install(wheels, "deepseek-core")
    found = environment.backends()
    assert [b["name"] for b in found["backends"]] == ["reference"]
    assert found["broken"] == []
    where = environment.run("python", "-c", "import deepseek_core; print(deepseek_core.__file__)").stdout
    assert where.startswith(str(environment.folder)), "an installation outside of the environment answered"


@pytest.mark.parametrize("project", BACKENDS)
def test_an_installed_backend_appears(environment, wheels: Path, project: str) -> None:
    environment.install(wheels, project)
    found = environment.backends()
    assert found["broken"] == []
    assert {b["name"] for b in found["backends"]} == {"reference", *BACKENDS[project]}
    (backend,) = [b for b in found["backends"] if b["name"] != "reference"]
    assert backend["distribution"] == project
    assert backend["version"] == next(p["version"] for p in PROJECTS.values() if p["name"] == project)
    assert backend["targets"]


def test_the_toolkit_brings_its_command_and_all_that_it_needs(environment, wheels: Path) -> None:
    environment.install(wheels, "deepseek")
    assert {backend["name"] for backend in environment.backends()["backends"]} == {"reference", "cpu"}
    shown = environment.run("deepseek", "quantize", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--save-recipe" in shown.stdout
    page = (
        "from deepseek.quantization import QuantizationReport as R; "
        "print(R('net', ('cpu',), 'int8', 'mse', 1, (), {}, 1.0, 1, 1).html())"
    )
    assert "<style" in environment.run("python", "-c", page).stdout


def test_wheels_hold_all_that_a_conformance_run_needs(environment, wheels: Path) -> None:
    environment.install(wheels, "deepseek-backend-echo")
    done = environment.run("deepseek", "conformance", "echo", "--pattern", "numerics/Add/*", "--html", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONFORMS" in done.stdout
    assert "<style" in (environment.folder / "report.html").read_text()
