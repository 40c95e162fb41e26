"""An opened artifact: the host's conversions around the context, which QNN simulates."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from deepseek_backend_npu.hexagon.container import FORMAT, HexagonContainer
from deepseek_backend_npu.hexagon.htp import run_context
from deepseek_backend_npu.hexagon.variants import architecture, device_name
from deepseek_backend_npu.host import convert
from deepseek_backend_npu.versions import QNN_FIX, qnn_problem
from deepseek_core import Artifact, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["HexagonExecutable", "open_hexagon"]

_RECOMPILE = "compile the model again"


def open_hexagon(artifact: Artifact, device: str | None) -> HexagonExecutable:
    """Open an artifact in QNN's simulation.

    Raises:
        PackageError: it is none of ours, damaged, or for another version than its target.
        BackendError: there is no such device, or QNN is not installed.
    """
    version = architecture(artifact.target)
    if artifact.format != FORMAT:
        raise PackageError(
            f"the npu backend does not run an artifact of format '{artifact.format}' for {artifact.target}",
            fix=_RECOMPILE,
        )
    artifact.verify()
    container = HexagonContainer.decode(artifact.payload)
    if container.device != artifact.target.device:
        raise PackageError(f"the artifact is for {container.device}, not for {artifact.target.device}", fix=_RECOMPILE)
    problem = qnn_problem()
    if problem is not None:
        raise BackendError(problem, fix=QNN_FIX)
    executable = HexagonExecutable(container, version)
    if device not in (None, executable.device):
        raise BackendError(f"there is no device '{device}'", fix=f"use '{executable.device}', or name none")
    return executable


class HexagonExecutable:
    """A part, ready to run; one child process simulates for every thread, in turn."""

    tier = Tier.SIMULATED

    def __init__(self, container: HexagonContainer, version: int) -> None:
        self._container: HexagonContainer | None = container
        self._version = version
        self.device = device_name(container.device)
        self.inputs: tuple[TensorInfo, ...] = container.inputs
        self.outputs: tuple[TensorInfo, ...] = container.outputs

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: QNN refuses the context or dies over it, or the executable is closed.
        """
        container = self._container
        if container is None:
            raise BackendError("the executable is closed", fix="load the artifact again")
        values: dict[str, NDArray[Any]] = dict(feeds)
        convert(container.before, values)
        if container.context:
            arrays = run_context(container.context, self._version, {name: values[name] for name in container.feeds})
            values.update(zip(container.results, arrays, strict=True))
        convert(container.after, values)
        return {info.name: values[info.name] for info in container.outputs}

    def close(self) -> None:
        """Calling twice is harmless."""
        self._container = None
