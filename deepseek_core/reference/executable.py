"""Artifacts of the reference backend: the model itself, as ONNX bytes."""

from __future__ import annotations

import json
from importlib.metadata import version

import onnx
import onnx_ir as ir
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError, ConfigError, PackageError
from deepseek_core.executable import Feeds
from deepseek_core.ir.model import QuantizedModel, TensorInfo, tensor_info
from deepseek_core.options import CompileOptions
from deepseek_core.reference.evaluator import Evaluator
from deepseek_core.reference.values import Array
from deepseek_core.target import Target, Tier

__all__ = ["DEVICE", "FORMAT", "ReferenceExecutable", "compile_model", "load_artifact"]

DEVICE = "numpy"
FORMAT = "onnx"

_TAPS = "deepseek.taps"
_FIX = "compile the model again"


def compile_model(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """The model with its weights inside, and the names to tap.

    Raises:
        ConfigError: an option that this backend does not have.
        ModelError: a tap is no value of the main graph, or an operator has no implementation.
        BackendError: the model is too large for one protobuf message (2 GiB).
    """
    if options.extra:
        raise ConfigError(
            f"{target} has no option '{next(iter(options.extra))}'", fix="leave CompileOptions.extra empty"
        )
    Evaluator(model, options.taps)  # refuses now what could not run later
    copy = ir.external_data.load_to_model(model.model.clone())
    copy.metadata_props[_TAPS] = json.dumps(list(options.taps))
    try:
        payload = ir.to_proto(copy).SerializeToString(deterministic=True)
    except (ValueError, EncodeError) as error:
        raise BackendError(
            f"the model does not fit into one ONNX file ({error})", fix="place parts of it on other targets"
        ) from error
    return Artifact(target, payload, FORMAT, {name: version(name) for name in ("numpy", "onnx")})


def load_artifact(artifact: Artifact, device: str | None) -> ReferenceExecutable:
    """Open an artifact.

    Raises:
        BackendError: there is no such device.
        PackageError: the payload is not what `compile_model` writes.
    """
    if device not in (None, DEVICE):
        raise BackendError(f"reference has no device '{device}'", fix=f"leave the device out, or name '{DEVICE}'")
    if artifact.format != FORMAT or artifact.target.device != DEVICE:
        raise PackageError(
            f"artifact for {artifact.target} in format '{artifact.format}' is not reference:{DEVICE}'s", fix=_FIX
        )
    try:
        model = QuantizedModel(ir.from_proto(onnx.ModelProto.FromString(artifact.payload)))
        taps = json.loads(model.model.metadata_props[_TAPS])
        return ReferenceExecutable(model, tuple(taps))
    except Exception as error:  # the parsers raise whatever their third parties do
        reason = " ".join(str(error).split())[:200]
        raise PackageError(f"artifact for {artifact.target} cannot be read ({reason})", fix=_FIX) from error


class ReferenceExecutable:
    """A model on NumPy; see `deepseek_core.executable.Executable`."""

    def __init__(self, model: QuantizedModel, taps: tuple[str, ...] = ()) -> None:
        self._inputs = model.inputs
        known = {info.name for info in (*model.inputs, *model.outputs)}
        tapped = {value.name: value for node in model.graph for value in node.outputs}
        self._outputs = (*model.outputs, *(tensor_info(tapped[name]) for name in taps if name not in known))
        self._evaluator = Evaluator(model, taps)

    @property
    def tier(self) -> Tier:
        return Tier.REFERENCE

    @property
    def device(self) -> str:
        return DEVICE

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs, then taps, by name."""
        return self._evaluator.run(feeds)

    def close(self) -> None:
        """Nothing to release."""
