"""Why a module cannot be exported: the user's line, the construct on it, and what to write instead."""

from __future__ import annotations

import ast
import contextlib
import linecache
import re
import textwrap
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek_core.errors import ModelError

__all__ = ["explain", "explain_call"]

_LOOP = "compute both ways with torch.where, or write the loop with torch.while_loop or a fixed number of steps"
_BRANCH = "choose with torch.where, or write the branch with torch.cond"
_LIBRARIES = frozenset(("site-packages", "dist-packages"))
_OWN = str(Path(__file__).parents[2])
_STANDARD = str(Path(contextlib.__file__).parent)
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
_NESTED = "inlining function 'pkg.torch.__subgraph__"
"""What torch's exporter stumbles over when the body of a `while_loop` has control flow of its own."""
_COLOUR = re.compile(r"\x1b\[\d+m")


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def text(self) -> str:
        return linecache.getline(self.file, self.line).strip()


def explain(error: BaseException, name: str, program: Any = None) -> ModelError:
    """An error of one line for a failed export.

    Args:
        error: what torch raised.
        name: of the module's class.
        program: the `ExportedProgram`, where it got that far; it knows the line of each operator.
    """
    operator = next((m[1] for e in _chain(error) if (m := _OPERATOR.search(str(e)))), None)
    if operator is not None:
        where = _at(_line_of_operator(program, operator))
        return ModelError(
            f"{name} cannot be exported{where}: ONNX has no operator for {operator}",
            fix="write it with operators that ONNX has, or leave it to code around the network",
        )
    place = _user_place(error)
    if "data-dependent" in str(error) or type(error).__name__ == "GuardOnDataDependentSymNode":
        construct, fix = _construct(place)
        return ModelError(f"{name} cannot be exported{_at(place)}: {construct} depends on the data", fix=fix)
    if ".numpy()" in str(error):
        return ModelError(
            f"{name} cannot be exported{_at(place)}: it leaves torch for NumPy", fix="write it with torch's functions"
        )
    if any(_NESTED in str(e) for e in _chain(error)):
        return ModelError(
            f"{name} cannot be exported: torch translates no torch.cond or while_loop inside the body of a while_loop",
            fix="choose with torch.where inside the loop, or unroll one of the two",
        )
    return ModelError(f"{name} cannot be exported{_at(place)}: {_sentence(error)}", fix="rewrite that line for export")


def explain_call(error: BaseException, name: str) -> ModelError:
    """An error of one line for a module that fails on its own example input."""
    return ModelError(
        f"{name} fails on the example input{_at(_user_place(error))}: {_sentence(error)}",
        fix="give example_inputs= that the module can be called with",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _user_place(error: BaseException) -> _Place | None:
    """The innermost line of code that is neither a library's nor this one's."""
    for entry in _chain(error):
        for frame in reversed(traceback.extract_tb(entry.__traceback__)):
            if _is_users(frame.filename):
                return _Place(frame.filename, frame.lineno or 0)
    return None


def _is_users(file: str) -> bool:
    if file.startswith("<") or not _LIBRARIES.isdisjoint(Path(file).parts):
        return False
    return not file.startswith((_OWN, _STANDARD))


def _line_of_operator(program: Any, operator: str) -> _Place | None:
    """Where the user wrote what became `operator`."""
    stem = operator.rpartition(".")[2]
    for node in getattr(getattr(program, "graph", None), "nodes", ()):
        if stem in str(node.target):
            found = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
            users = [_Place(file, int(line)) for file, line in found if _is_users(file)]
            return users[-1] if users else None
    return None


def _construct(place: _Place | None) -> tuple[str, str]:
    """What stands on the line, and its fix."""
    text = "" if place is None else place.text
    kind = _statement(text)
    if isinstance(kind, ast.While | ast.For):
        return f"the loop '{_short(text)}'", _LOOP
    if isinstance(kind, ast.If) or _has(kind, ast.IfExp):
        return f"the branch '{_short(text)}'", _BRANCH
    if isinstance(kind, ast.Assert):
        return f"'{_short(text)}'", "leave the check out, or make it before the network is called"
    return f"'{_short(text)}'" if text else "its control flow", _BRANCH


def _statement(text: str) -> ast.AST | None:
    """The statement that a line is, or begins."""
    for candidate in (text, f"{text}\n    pass", f"if 1:\n    pass\n{text}\n    pass", text.removeprefix("return ")):
        try:
            body = ast.parse(textwrap.dedent(candidate)).body
        except SyntaxError:
            continue
        return body[-1] if body else None
    return None


def _has(tree: ast.AST | None, kind: type[ast.AST]) -> bool:
    return tree is not None and any(isinstance(node, kind) for node in ast.walk(tree))


def _at(place: _Place | None) -> str:
    return "" if place is None else f" ({place})"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"


def _sentence(error: BaseException) -> str:
    """The first line of what torch says; of a chain, the innermost."""
    inner = list(_chain(error))[-1] if type(error).__name__ == "ConversionError" else error
    lines = [line.strip() for line in _COLOUR.sub("", str(inner)).splitlines() if line.strip()]
    return (lines[0] if lines else type(inner).__name__)[:300].rstrip(".")
