"""The documentation keeps its word: its code runs, its files are the tested ones, and nothing is left out."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from deepseek_core import errors, hookspecs
from deepseek_core.cli.app import COMMANDS, app
from deepseek_core.cli.cross_compile import command as cross_compile
from deepseek_core.package import Package
from deepseek_core.pipeline import compile as compile_model
from deepseek_core.registry import REQUIRED, Backend

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("deepseek_"))
ECHO = ROOT / "examples" / "deepseek_backend_echo"

_FENCE = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    page: Path
    language: str
    title: str | None
    text: str


def _blocks(page: Path) -> Iterator[Block]:
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(page, match["language"], match["title"], match["text"])


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_every_block_says_what_it_is() -> None:
    known = {"python", "toml", "console", "json", "text", "markdown"}
    assert not [(_name(b.page), b.text[:60]) for b in BLOCKS if b.language not in known]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(file), f"{target}: no such heading"


def _anchors(page: Path) -> set[str]:
    """Heading anchors, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("json", "toml")], ids=lambda b: _name(b.page))
def test_data_blocks_parse(block: Block) -> None:
    (json if block.language == "json" else tomllib).loads(block.text)


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "tutorial_backend.md"], ids=_name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace) -> None:
    blocks = [b for b in _blocks(page) if b.language == "python"]
    if not blocks:
        return
    workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block.text, _name(page), "exec"), scope)


def _commands() -> list[tuple[str, str]]:
    lines = [
        (_name(b.page), line.removeprefix("$ ").split("  #")[0].strip())
        for b in BLOCKS
        if b.language == "console"
        for line in b.text.replace("\\\n", " ").splitlines()
        if line.startswith("$ ")
    ]
    return sorted(set(lines))


@pytest.mark.parametrize(("page", "line"), _commands())
def test_console_lines_are_real(page: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "deepseek":
        _parses(arguments)
    elif program == "deepseek-cross-compile":
        cross_compile.make_parser(click.Context(cross_compile, info_name=program)).parse_args(arguments)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.M) for target in arguments if "=" not in target)
    else:
        assert program in ("pip", "python", "python3", "pytest", "git", "cd", "mkdir", "cat"), line


def _parses(arguments: list[str]) -> None:
    context = click.Context(app, info_name="deepseek")
    if arguments[0].startswith("-"):
        app.make_parser(context).parse_args(arguments)
        return
    command = app.get_command(context, arguments[0])
    assert command is not None, f"no command {arguments[0]}"
    inner = click.Context(command, info_name=arguments[0], parent=context)
    values, rest, _ = command.make_parser(inner).parse_args(arguments[1:])
    missing = [p.name for p in command.params if p.required and not values.get(p.name or "")]
    assert not missing
    assert not rest


def test_the_tutorial_is_the_tested_package() -> None:
    shown = {b.title: b.text for b in _blocks(ROOT / "docs" / "tutorial_backend.md") if b.title is not None}
    files = {
        str(path.relative_to(ECHO)): path.read_text(encoding="utf-8")
        for path in sorted(ECHO.rglob("*"))
        if path.suffix in (".py", ".toml", ".md") and not any(part.endswith(".egg-info") for part in path.parts)
    }
    assert set(shown) == set(files)
    for name, text in files.items():
        assert shown[name] == text, f"{name} differs; run scripts/sync_tutorial.py"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    section = page.split(f"## `{hook}`\n")[1].split("\n## ")[0]
    for part in ("Called", "Arguments", "Returns", "Errors", "Default"):
        assert f"- **{part}** " in section, f"{hook}: no {part}"
    spec = getattr(hookspecs, hook)
    for argument in spec.__code__.co_varnames[: spec.__code__.co_argcount]:
        assert f"`{argument}" in section, f"{hook}: argument {argument} is not explained"
    assert f"def {hook}(" in section, f"{hook}: no example"
    table = next(line for line in page.splitlines() if line.startswith(f"| [`{hook}`]"))
    assert ("required" if hook in REQUIRED else "optional") in table


def test_the_examples_of_the_hooks_make_a_backend() -> None:
    scope: dict[str, object] = {"__name__": "acme"}
    for block in _blocks(ROOT / "docs" / "hooks.md"):
        if block.language == "python":
            exec(compile(block.text, "hooks.md", "exec"), scope)
    backend = Backend(type("Acme", (), {k: staticmethod(v) for k, v in scope.items() if k.startswith("deepseek_")}))  # type: ignore[arg-type]
    assert backend.name == "acme"
    assert all(backend.implements(hook) for hook in HOOKS)
    target = backend.targets[0]
    assert backend.capabilities(target).rules
    assert backend.probe(target).missing[0].fix
    assert backend.expectations(target).known_failures


def test_every_command_and_option_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    context = click.Context(app, info_name="deepseek")
    for name in COMMANDS:
        section = page.split(f"## `deepseek {name}`\n")[1].split("\n## ")[0]
        command = app.get_command(context, name)
        assert command is not None
        options = {opt for p in command.params if isinstance(p, click.Option) for opt in p.opts if opt.startswith("--")}
        missing = [opt for opt in sorted(options - {"--json"}) if f"`{opt}" not in section]
        assert not missing, f"deepseek {name}: {missing}"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(p.name[:4]) for p in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_error_class_is_documented_for_users() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert not [name for name in errors.__all__ if name != "DeepseekError" and f"`{name}`" not in page]


def test_every_field_of_the_manifest_is_documented(tmp_path: Path, workspace) -> None:
    workspace(tmp_path)
    package = compile_model(Package.open(tmp_path / "model.ds").model, ("cpu",))
    package.save(tmp_path / "compiled.ds")
    page = (ROOT / "docs" / "package_format.md").read_text(encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "compiled.ds") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        members = set(archive.namelist())
    keys = {*manifest, *manifest["artifacts"][0], *(key for m in manifest["members"].values() for key in m)}
    assert not [key for key in sorted(keys) if f"`{key}`" not in page]
    assert not [name for name in sorted(members) if f"`{name}`" not in page]
    assert f"Schema {manifest['schema']}." in page
