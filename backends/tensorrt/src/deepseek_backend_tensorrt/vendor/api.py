"""One interface over TensorRT's API generations; each has a module with what is different in it.

`8.6` builds weakly typed networks whose precisions are flags, `10` and `11` strongly typed ones whose precisions are in
the graph, and TensorRT-RTX builds for architectures that are not here. What is the same in all of them is in `Api`.
"""

from __future__ import annotations

from typing import Any

from deepseek_backend_tensorrt.vendor.failure import VendorError

__all__ = ["Api", "Log", "flag", "make_log"]


class Log:
    """What TensorRT said, in order: (severity name, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.logger: Any = None

    def errors(self) -> list[str]:
        """The errors, one line each, first first."""
        texts = (text for severity, text in self.lines if severity in ("INTERNAL_ERROR", "ERROR"))
        return list(dict.fromkeys(" ".join(text.split()) for text in texts))

    def text(self, start: str) -> str | None:
        """The last message that begins so."""
        return next((text for _, text in reversed(self.lines) if text.startswith(start)), None)


def make_log(trt: Any) -> Log:
    """A log whose `logger` is a logger of the module."""
    log = Log()

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.lines.append((severity.name, message))

    log.logger = Logger()
    return log


def flag(enumeration: Any, *names: str) -> int:
    """The bit mask of members that the enumeration has."""
    return sum(1 << int(getattr(enumeration, name)) for name in names if hasattr(enumeration, name))


class Api:
    """What all generations share.

    Attributes:
        generation: `8.6`, `10`, `11` or `rtx`.
        max_opset: newest ONNX opset its parser is given.
        typed: precisions are in the graph, not in flags.
        ahead: it builds for architectures that are not in this machine.
    """

    generation = ""
    max_opset = 21
    typed = True
    ahead = False

    def __init__(self, trt: Any) -> None:
        self.trt = trt

    @property
    def version(self) -> str:
        return str(self.trt.__version__)

    # Building

    def create_network(self, builder: Any) -> Any:
        return builder.create_network(flag(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"))

    def set_precisions(self, config: Any, *, half: bool, int8: bool) -> None:
        """Allow reduced precision where a flag says so; typed networks need no word."""

    def set_architecture(self, config: Any, capability: tuple[int, int], present: tuple[int, int] | None) -> None:
        """Build for a compute capability: the one in this machine.

        Raises:
            VendorError: it is another one.
        """
        if present is None or tuple(present) != tuple(capability):
            here = "no GPU is here" if present is None else f"the GPU here has {present[0]}.{present[1]}"
            raise VendorError(
                f"TensorRT {self.version} builds for the GPU it runs on; {here}, "
                f"{capability[0]}.{capability[1]} is asked for",
                "compile on a machine with that GPU",
                "device",
            )

    def set_compatibility(self, config: Any, *, version: bool, hardware: bool) -> None:
        """Engines for later runtimes, and for later architectures from Ampere on."""
        if version:
            config.set_flag(self.trt.BuilderFlag.VERSION_COMPATIBLE)
        if hardware:
            config.hardware_compatibility_level = self.trt.HardwareCompatibilityLevel.AMPERE_PLUS

    def set_tactics(self, config: Any, without: list[str]) -> None:
        """Leave out sources of kernels by name, such as CUBLAS."""
        if not without:
            return
        sources = self.trt.TacticSource
        known = list(sources.__members__)
        strangers = [name for name in without if name not in known]
        if strangers:
            raise VendorError(
                f"'{strangers[0]}' is no source of kernels of TensorRT {self.version}", f"use {', '.join(known)}"
            )
        config.set_tactic_sources(flag(sources, *(name for name in known if name not in without)))

    def set_calibrator(self, config: Any, source: Any) -> Any:
        """Let TensorRT calibrate; `source` gives batches. What must be kept alive is returned.

        Raises:
            VendorError: this generation has no calibrators.
        """
        raise VendorError(
            f"TensorRT {self.version} has no calibrators", "quantize the model with `deepseek quantize`", "toolchain"
        )

    def parser_problem(self, error: Any) -> tuple[str, str]:
        """(node name, what is wrong with it) of a parser's error."""
        return str(error.node_name()), str(error.desc())

    # Running

    def runtime(self, log: Log) -> Any:
        runtime = self.trt.Runtime(log.logger)
        if hasattr(runtime, "engine_host_code_allowed"):
            runtime.engine_host_code_allowed = True  # version-compatible engines carry their own runtime
        return runtime

    def device_memory(self, engine: Any) -> int:
        """Bytes that each context of the engine needs."""
        return int(engine.device_memory_size_v2)

    def inspect(self, engine: Any) -> str:
        """The engine's layers as JSON."""
        return str(engine.create_engine_inspector().get_engine_information(self.trt.LayerInformationFormat.JSON))
