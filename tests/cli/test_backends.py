"""`deepseek backends`, with registries made up for the purpose."""

from __future__ import annotations

import pytest

from deepseek_core.cli import backends
from deepseek_core.registry import BrokenBackend, Registry, discover


def test_installed_backends(deepseek) -> None:
    answer = deepseek("backends", "--json").json
    found = {backend["name"]: backend for backend in answer["backends"]}
    assert {"cpu", "echo", "reference"} <= set(found)
    assert found["echo"]["targets"][0]["target"] == "echo:v1"
    for backend in found.values():
        for target in backend["targets"]:
            assert target["can_run"] or target["missing"], "what does not run says what is missing"
            assert all(entry["fix"] for entry in target["missing"])
    text = deepseek("backends").out
    assert all(name in text for name in found)


def test_a_broken_backend_is_shown_with_its_fix(deepseek, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = BrokenBackend("acme", "deepseek-backend-acme", "ImportError: libacme.so", "install the driver")
    monkeypatch.setattr(backends, "discover", lambda: Registry(discover().backends.values(), [broken]))
    text = deepseek("backends").out
    assert "acme is broken: ImportError: libacme.so\n  → install the driver" in text
    assert "reference" in text


def test_no_backend_at_all(deepseek, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "discover", Registry)
    assert "pip install deepseek-backend-cpu" in deepseek("backends").out
    assert deepseek("backends", "--json").json["backends"] == []
