"""Open an artifact and run it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from deepseek_backend_cpu import values
from deepseek_backend_cpu.host import architecture, cpu_name, features
from deepseek_backend_cpu.saturation import open_exact
from deepseek_backend_cpu.session import PROVIDER
from deepseek_core import Artifact, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["CpuExecutable", "load"]

_RECOMPILE = "compile the model again"


def load(artifact: Artifact, device: str | None) -> CpuExecutable:
    """Open an artifact on this CPU.

    Raises:
        PackageError: the artifact is damaged, or not one of this backend's.
        BackendError: the artifact is for another architecture or device, or ONNX Runtime is missing or does not
            run it on the CPU.
    """
    if device not in (None, cpu_name()):
        raise BackendError(f"there is no device '{device}'", fix=f"use '{cpu_name()}', or leave the device out")
    if artifact.target.device != architecture():
        raise BackendError(
            f"the artifact is for {artifact.target} and this CPU is {architecture()}", fix="compile for this machine"
        )
    lacking = sorted(set(artifact.requires) - set(features()))
    if lacking:
        raise BackendError(f"the artifact needs {', '.join(lacking)}, which this CPU lacks", fix=_RECOMPILE)
    if artifact.format != "onnx":
        raise PackageError(f"artifact of format '{artifact.format}', not onnx", fix=_RECOMPILE)
    artifact.verify()
    threads = artifact.report.get("threads", 0)
    if not isinstance(threads, int):
        raise PackageError(f"artifact asks for {threads!r} threads", fix=_RECOMPILE)
    try:
        float8, spinning = artifact.report.get("float8") is True, artifact.report.get("spinning") is not False
        session = open_exact(artifact.payload, threads=threads, float8=float8, spinning=spinning)
    except BackendError:
        raise
    except Exception as error:  # ONNX Runtime has one exception class for each status code, without a common base
        raise PackageError(f"ONNX Runtime cannot open the artifact ({one_line(error)})", fix=_RECOMPILE) from error
    return CpuExecutable(session)


class CpuExecutable:
    """An ONNX Runtime session on this CPU. `run` may be called from several threads at once."""

    tier = Tier.DEVICE

    def __init__(self, session: Any) -> None:
        if session.get_providers() != [PROVIDER]:
            raise BackendError(
                f"ONNX Runtime chose {', '.join(session.get_providers())} instead of the CPU",
                fix="install the plain onnxruntime package",
            )
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self.device = cpu_name()
        self.inputs = tuple(map(_info, inputs))
        self.outputs = tuple(map(_info, outputs))
        self._names = [output.name for output in outputs]
        self._kinds = {value.name: value.type for value in inputs}
        self._session: Any = session
        self._run = session.run
        if any(value.type in values.EXTENDED for value in (*inputs, *outputs)):
            self._run = self._run_extended

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: ONNX Runtime fails on these values, or the executable is closed.
        """
        try:
            return dict(zip(self._names, self._run(self._names, feeds), strict=True))
        except Exception as error:  # as in `load`
            if self._session is None:
                raise BackendError("the executable is closed", fix="load the artifact again") from None
            raise BackendError(
                f"ONNX Runtime failed: {one_line(error)}", fix="check the values that are fed"
            ) from error

    def close(self) -> None:
        """Release the session; calling twice is harmless."""
        self._session = None
        self._run = _closed

    def _run_extended(self, names: list[str], feeds: Feeds) -> list[Any]:
        wrapped = {name: values.to_ort(array, self._kinds[name]) for name, array in feeds.items()}
        return [values.from_ort(value) for value in self._session.run_with_ort_values(names, wrapped)]


def _closed(names: list[str], feeds: Feeds) -> list[Any]:
    raise RuntimeError("closed")


def _info(value: Any) -> TensorInfo:
    dtype = values.dtype_name(value.type)
    return TensorInfo(value.name, dtype, None if dtype == "unknown" else tuple(value.shape))


def one_line(error: BaseException) -> str:
    """An exception's text without ONNX Runtime's status prefix and line breaks."""
    text = " ".join(str(error).split())
    return text.rpartition("[ONNXRuntimeError] : ")[2].partition(" : ")[2] or text
