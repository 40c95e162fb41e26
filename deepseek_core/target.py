"""Targets and what they can do: frozen data that quantizer, partitioner and conformance kit all read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deepseek_core.errors import ConfigError, TargetError
from deepseek_core.scheme import DType, QuantScheme

__all__ = ["Availability", "Capabilities", "Limit", "Missing", "OpRule", "Target", "TensorType", "Tier"]

_TARGET = re.compile(r"(?P<backend>[a-z][a-z0-9_]*):(?P<device>[a-z0-9][a-z0-9._-]*)(?P<features>(\+[a-z0-9._-]+)*)")

TensorType = QuantScheme | DType
"""A quantized tensor (scheme) or a plain float tensor (dtype)."""


class Tier(StrEnum):
    """How a result was obtained. Every report prints it; nothing ever upgrades it."""

    DEVICE = "device"
    EMULATED = "emulated"
    SIMULATED = "simulated"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """`backend:device[+feature…]`, for example `cpu:x86_64` or `arm:armv8.2-a+dotprod`."""

    backend: str
    device: str
    features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the string form.

        Raises:
            TargetError: the text does not have the form.
        """
        match = _TARGET.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"'{text}' is not a target", fix="write backend:device[+feature…], for example cpu:x86_64"
            )
        features = tuple(sorted(filter(None, match["features"].split("+"))))
        return cls(match["backend"], match["device"], features)

    def __str__(self) -> str:
        return "+".join((f"{self.backend}:{self.device}", *self.features))


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not here, and the command or step that mends it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Availability:
    """What of a target is present on this machine.

    Attributes:
        can_compile: the toolchain is here.
        can_run: a device (or the emulator of the stated tier) is here.
        missing: what is not, each with its fix.
        detail: one line for people, such as the device's name and the runtime's version.
        features: what this machine has of the features that artifacts name in `Artifact.requires`, for
            example `("avx2", "avx512_vnni")`; an artifact that requires another one is rebuilt here.
        toolchain: versions installed here, under the names that artifacts use in `Artifact.toolchain`; an
            artifact built with another version is rebuilt here.
        tier: how results of this target are obtained here; an `Executable` must state the same.
        devices: names of the devices present, as `Executable.device` gives them: what runs elsewhere is a
            silent fallback. The conformance kit compares both.
    """

    can_compile: bool
    can_run: bool
    missing: tuple[Missing, ...] = ()
    detail: str = ""
    features: tuple[str, ...] = ()
    toolchain: Mapping[str, str] = field(default_factory=dict)
    tier: Tier | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """One declarative bound on a unit; a unit that breaks it is refused with a sentence built from it.

    Attributes:
        subject: `attr:NAME` (an attribute; every element of a list counts), `rank` (of the first data input),
            `dim:AXIS` (size of that axis of the first data input), `elements` (of the first data input),
            `channels` (output channels), or `static` (all shapes known; no bounds).
        minimum: inclusive, None for no bound.
        maximum: inclusive, None for no bound.
        allowed: the only values accepted, None for any.
        default: what an absent attribute counts as.
    """

    subject: str
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[float | str, ...] | None = None
    default: float | str | None = None


@dataclass(frozen=True, slots=True)
class OpRule:
    """One row of a capability table: an op in one combination of tensor types.

    Attributes:
        op: ONNX op type; `domain::Op` outside the default domain.
        activation: type of every data input (see `ir.ops.roles`).
        output: type of the outputs.
        weight: type of the constant weight input, None where the op has none.
        bias: accepted bias type: DType.INT32 (quantized with scale activation × weight) or DType.FLOAT32.
        fused: activation op types that may follow inside the same unit.
        limits: bounds on attributes and shapes.
    """

    op: str
    activation: TensorType
    output: TensorType
    weight: TensorType | None = None
    bias: DType | None = None
    fused: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def is_quantized(self) -> bool:
        """Whether any tensor of the rule is quantized."""
        return any(isinstance(t, QuantScheme) for t in (self.activation, self.output, self.weight))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The one table of a target: recipe, claims and conformance cases are derived from it.

    Attributes:
        target: whose table this is.
        rules: in order of preference; the first that fits a unit names its scheme.
        any_float: the target runs every ONNX op in float (a general runtime such as ONNX Runtime);
            otherwise only ops with a float rule.
        float_domains: operator domains that `any_float` speaks about; "" is ONNX's own.
        control_flow: `If`, `Loop` and `Scan` with their bodies run on the target.
        dynamic_shapes: symbolic dimensions are accepted.
        max_opset: newest default-domain opset understood, None for any.
        formats: formats that `deepseek_cross_compile` offers.
        peak_macs: multiply-accumulates per second at the quantized precision, for the analytic roofline.
        bandwidth: bytes per second of its memory, for the analytic roofline and for transfers.
        launch: seconds one part costs however small.
        memory: most bytes of constants that its parts may hold together, None for no limit.
    """

    target: Target
    rules: tuple[OpRule, ...]
    any_float: bool = False
    float_domains: tuple[str, ...] = ("",)
    control_flow: bool = False
    dynamic_shapes: bool = False
    max_opset: int | None = None
    formats: tuple[str, ...] = ()
    peak_macs: float = 1e9
    bandwidth: float = 1e9
    launch: float = 0.0
    memory: int | None = None
    _by_op: dict[str, tuple[OpRule, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.peak_macs, self.bandwidth) <= 0 or self.launch < 0:
            raise ConfigError(
                f"{self.target}: peak_macs, bandwidth and launch must be positive", fix="give figures of the device"
            )
        if self.memory is not None and self.memory < 0:
            raise ConfigError(f"{self.target}: a memory of {self.memory} bytes", fix="give a size, or None")
        for rule in self.rules:
            self._by_op[rule.op] = (*self._by_op.get(rule.op, ()), rule)

    def rules_for(self, op: str) -> tuple[OpRule, ...]:
        """Rules of one op, in order of preference."""
        return self._by_op.get(op, ())
