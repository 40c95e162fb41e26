"""Commands of other distributions: added, in the place of a built-in one, or broken."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Callable, Iterator

import click
import pytest

from deepseek_core.cli import extensions
from deepseek_core.cli.output import Report, reporting


@click.command(name="greet")
@reporting
def greet() -> Report:
    """Greet."""
    return Report({"greeting": "hello"}, lambda console: console.print("hello"), exit_code=3)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs entries of group `deepseek.commands` instead of those that are there."""
    module = types.ModuleType("extension_under_test")
    module.greet, module.text = greet, "no command"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def clear() -> None:
        extensions.extensions.cache_clear()
        extensions.extension.cache_clear()

    def put(**values: str) -> None:
        group = extensions.ENTRY_POINT_GROUP
        found = [importlib.metadata.EntryPoint(name, value, group) for name, value in values.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: importlib.metadata.EntryPoints(found))
        clear()

    yield put
    clear()


def test_an_extension_is_a_command_like_the_others(deepseek, install) -> None:
    install(greet="extension_under_test:greet")
    answer = deepseek("greet", "--json")
    assert (answer.code, answer.json, answer.err) == (3, {"greeting": "hello"}, "")
    listed = deepseek("--help").out
    assert "greet" in listed
    assert "quantize" in listed


def test_an_extension_replaces_a_built_in_command(deepseek, install) -> None:
    install(bench="extension_under_test:greet")
    assert deepseek("bench").out == "hello\n"
    assert deepseek("--help").out.count("bench") == 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("a_module_that_is_not_here:command", "ModuleNotFoundError"),
        ("extension_under_test:nothing", "AttributeError"),
        ("extension_under_test:text", "no click command"),
    ],
)
def test_a_broken_extension_is_one_warning_and_the_built_in_answers(deepseek, install, value: str, why: str) -> None:
    install(inspect=value, greet="extension_under_test:greet")
    answer = deepseek("inspect", "--help")
    assert answer.code == 0
    assert "Usage: deepseek inspect" in answer.out
    (told,) = answer.err.splitlines()
    assert told.startswith("warning: command 'inspect' of an extension is broken: ")
    assert why in told
    assert deepseek("greet").out == "hello\n"
    assert deepseek("inspect", "--help").err == "", "it is told once"


def test_a_broken_extension_without_a_built_in_is_an_unknown_command(deepseek, install) -> None:
    install(fly="a_module_that_is_not_here:command")
    answer = deepseek("fly")
    assert answer.code == 2
    assert "No such command" in answer.err


def test_extensions_are_looked_up_once(deepseek, install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(greet="extension_under_test:greet")
    calls, real = [], importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: calls.append(group) or real(group=group))
    deepseek("greet")
    deepseek("greet")
    assert calls == [extensions.ENTRY_POINT_GROUP]
