"""Backends that fail in every way a plugin can fail, installed together: each is named, none harms another."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

GOOD = """
from deepseek_core import Artifact, Availability, BackendInfo, Capabilities, Target, hookimpl

@hookimpl
def deepseek_backend():
    return BackendInfo({name!r}, {api}, (Target({name!r}, "host"),), "", "1.0")

@hookimpl
def deepseek_capabilities(target):
    return Capabilities(target, ())

@hookimpl
def deepseek_probe(target):
    return Availability(can_compile=True, can_run=True)

@hookimpl
def deepseek_compile(model, target, options):
    raise NotImplementedError

@hookimpl
def deepseek_load(artifact, device):
    raise NotImplementedError
"""


def _good(name: str, api: tuple[int, int] = (1, 0)) -> str:
    return GOOD.format(name=name, api=api)


BROKEN = {
    "raises": ("raise RuntimeError('no driver')\n", "RuntimeError: no driver"),
    "exits": ("import sys\nsys.exit('unsupported machine')\n", "SystemExit: unsupported machine"),
    "lacks": ("import a_vendor_package_that_is_not_here\n", "ModuleNotFoundError"),
    "syntax": ("def deepseek_backend(:\n", "SyntaxError"),
    "major": (_good("major", (99, 0)), "hook API 99.0"),
    "misspelt": (_good("misspelt").replace("deepseek_probe", "deepseek_prope"), "did you mean deepseek_probe?"),
    "undecorated": (
        _good("undecorated").replace("@hookimpl\ndef deepseek_probe", "def deepseek_probe"),
        "'deepseek_probe' is not decorated with @hookimpl",
    ),
    "incomplete": (_good("incomplete").split("@hookimpl\ndef deepseek_load")[0], "lacks required hooks: deepseek_load"),
    "thief": (_good("reference"), "'reference' is already provided by deepseek-core"),
    "wrong_argument": (
        _good("wrong_argument").replace("def deepseek_probe(target)", "def deepseek_probe(device)"),
        "deepseek_probe",
    ),
}
TALKATIVE = "print('Vendor SDK 3.1, all rights reserved')\n" + _good("talkative")
BAD_PROBE = _good("bad_probe").replace("return Availability(can_compile=True, can_run=True)", "raise OSError('bus')")


@pytest.fixture(scope="module")
def broken_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    for name, (source, _) in BROKEN.items():
        _write_wheel(folder, name, source)
    _write_wheel(folder, "talkative", TALKATIVE)
    _write_wheel(folder, "bad_probe", BAD_PROBE)
    return folder


def test_each_broken_backend_is_named_and_none_harms_another(environment, wheels: Path, broken_wheels: Path) -> None:
    environment.install(wheels, "deepseek-backend-echo")
    environment.install(broken_wheels, *map(_project, [*BROKEN, "talkative", "bad_probe"]))
    found = environment.backends()
    assert [b["name"] for b in found["backends"]] == ["bad_probe", "echo", "reference", "talkative"]
    assert {b["name"] for b in found["broken"]} == set(BROKEN)
    for broken in found["broken"]:
        assert BROKEN[broken["name"]][1] in broken["error"]
        assert broken["fix"], broken
        assert broken["distribution"] == _project(broken["name"])
    (bad_probe,) = found["backends"][0]["targets"]
    assert not bad_probe["can_run"]
    assert "OSError: bus" in bad_probe["missing"][0]["what"]
    for_people = environment.run("deepseek", "backends")
    assert for_people.returncode == 0
    assert "raises is broken: RuntimeError: no driver" in for_people.stdout
    assert "Traceback" not in for_people.stdout + for_people.stderr


def _project(name: str) -> str:
    return f"deepseek-backend-{name.replace('_', '-')}"


def _write_wheel(folder: Path, name: str, source: str) -> None:
    """A wheel of one module `<name>_plugin` with an entry point `<name>`."""
    stem = f"deepseek_backend_{name}-1.0"
    members = {
        f"{name}_plugin.py": source,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {_project(name)}\nVersion: 1.0\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": f"[deepseek.backends]\n{name} = {name}_plugin\n",
    }
    record = f"{stem}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in members.items():
            wheel.writestr(path, text)
        wheel.writestr(record, "".join(f"{path},,\n" for path in (*members, record)))
