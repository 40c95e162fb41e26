"""Import of ONNX models: anything ONNX in, a verified QuantizedModel in canonical form out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.canonical import canonicalize
from deepseek_core.ir.canonical.inline import inline
from deepseek_core.ir.canonical.names import unify_names
from deepseek_core.ir.canonical.tidy import sort_if_needed, use_default_domain
from deepseek_core.ir.checks.report import refuse
from deepseek_core.ir.checks.signatures import signature_problems
from deepseek_core.ir.checks.structure import structure_problems
from deepseek_core.ir.external import attach_external
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.opset import raise_opset
from deepseek_core.ir.reading import parse, read_file
from deepseek_core.ir.screen import screen
from deepseek_core.ir.serialize import unpack_metadata
from deepseek_core.ir.shapes import forget_placeholder_sizes, infer_shapes
from deepseek_core.ir.verify import verify

__all__ = ["load_model"]


def load_model(source: str | Path | bytes | onnx.ModelProto | ir.Model) -> QuantizedModel:
    """Read an ONNX model and bring it into canonical QDQ form.

    Local functions are inlined, the opset is raised to 21 where ONNX's converter can, shapes are inferred and
    the result is verified. An `ir.Model` is taken over and changed in place; other sources are left alone.
    Files are not trusted: native code works on them in a child process (`ir.isolated`), which a model in memory
    does without. External data is memory-mapped, so its file must stay as it is while the model is in use.

    Args:
        source: a path, the bytes of a file, or a model in memory.

    Returns:
        The model; its metadata holds the SHA-256 of the source's bytes as `source_sha256`, unless the file was
        written by `ir.serialize`, which keeps the metadata.

    Raises:
        ModelError: not an ONNX model, damaged, invalid, or with something the IR cannot express.
    """
    # Signalling NaNs among the constants make NumPy warn; where a NaN matters, verification says so.
    with _quiet("onnx_ir"), np.errstate(invalid="ignore"):
        model, metadata = _read(source)
        _canonical(model, isolate=isinstance(source, (str, Path, bytes)))
        result = QuantizedModel(model, metadata)
        verify(result)
    return result


def _canonical(model: ir.Model, *, isolate: bool) -> None:
    inline(model)
    forget_placeholder_sizes(model)
    use_default_domain(model)
    sort_if_needed(model)
    unify_names(model)
    # The steps below use native code of onnx, which trusts its input: nothing that is known to be wrong gets there.
    refuse(structure_problems(model))
    refuse(signature_problems(model))
    infer_shapes(model, isolate=isolate)
    raise_opset(model, isolate=isolate)
    canonicalize(model)
    if _has_unknowns(model):
        infer_shapes(model, isolate=isolate)


def _has_unknowns(model: ir.Model) -> bool:
    """Whether some value has no type or shape."""
    values = (v for node in model.graph.all_nodes() for v in node.outputs if v.name)
    return any(v.type is None or v.shape is None for v in values)


def _read(source: str | Path | bytes | onnx.ModelProto | ir.Model) -> tuple[ir.Model, dict[str, object]]:
    if isinstance(source, ir.Model):
        return source, {}
    if isinstance(source, onnx.ModelProto):
        model = _deserialize(source, None, "the model")
        return model, unpack_metadata(model)
    if isinstance(source, bytes):
        data, folder, name = source, None, "the model"
    else:
        path = Path(source)
        data, folder, name = read_file(path), path.parent, f"'{path}'"
    model = _deserialize(parse(data, name), folder, name)
    return model, {"source_sha256": hashlib.sha256(data).hexdigest(), **unpack_metadata(model)}


def _deserialize(proto: onnx.ModelProto, folder: Path | None, name: str) -> ir.Model:
    screen(proto)
    try:
        model = ir.from_proto(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(f"{name} is not a valid ONNX model: {_cause(error)}", fix="export the model again") from error
    attach_external(model, folder)
    return model


def _cause(error: BaseException) -> str:
    """The innermost reason, in one short line; the outer ones repeat the whole message they failed on."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """The library logs what is checked, and said better, afterwards."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
