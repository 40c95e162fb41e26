"""What a plan says: plain data about units, parts, transfers and targets."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepseek_core.cost import Cost
from deepseek_core.placement import Placement
from deepseek_core.target import Availability, Target

__all__ = ["Alternative", "Option", "PartPlan", "Plan", "RefusalGroup", "TargetPlan", "TransferPlan", "UnitPlan"]


@dataclass(frozen=True, slots=True)
class Option:
    """What another target would make of a unit.

    Attributes:
        cost: of the unit there, without a launch; None when the target refuses it.
        reason: why the target refuses it; empty when it does not.
        change: what would make the target take it; empty when nothing is known.
        delta: by how much the objective rises when the unit (and what must come along) moves there and the parts
            are formed again; None when it cannot move, or the model is too large to try every move.
        limit: the limit that this move would break; empty when it breaks none.
    """

    target: Target
    cost: Cost | None = None
    reason: str = ""
    change: str = ""
    delta: float | None = None
    limit: str = ""


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One unit.

    Attributes:
        part: number of its part.
        cost: on its target, without a launch.
        share: of the model's multiply-accumulates, from 0 to 1.
        why: why it is where it is, in words.
        options: the other targets.
    """

    name: str
    op: str
    target: Target
    part: int
    cost: Cost
    share: float
    why: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One part, and when it runs within one inference (seconds from the start).

    Attributes:
        launch: seconds of it that its launch takes.
    """

    number: int
    target: Target
    units: tuple[str, ...]
    start: float
    end: float
    launch: float


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """One tensor on its way to another target.

    Attributes:
        source: number of the part that gives it.
        to: number of the first part there that takes it.
        start: seconds from the beginning of the inference.
    """

    tensor: str
    bytes: int
    source: int
    to: int
    cost: Cost
    start: float


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What one target has to do.

    Attributes:
        here: what of it is present on this machine.
        share: of the model's multiply-accumulates, from 0 to 1.
        work: seconds of its units.
        launches: seconds of its launches.
        constants: bytes.
        memory: most bytes of constants, None for no limit.
    """

    target: Target
    here: Availability
    units: int
    parts: int
    share: float
    work: float
    launches: float
    constants: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class RefusalGroup:
    """Units that one target refuses for one reason, names and sizes in it aside.

    Attributes:
        reason: of the first unit.
        change: what would make the target take the first unit; empty when nothing is known.
        elsewhere: where they run.
    """

    target: Target
    reason: str
    change: str
    units: tuple[str, ...]
    elsewhere: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another placement of the same model.

    Attributes:
        value: under the plan's objective, None when the placement is not possible.
        note: why it is not possible, or which pin or limit it breaks.
    """

    name: str
    value: float | None
    parts: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A placement explained.

    Attributes:
        model: name of what was placed.
        objective: what was minimised.
        value: of the placement under the objective, in seconds (joules for energy).
        bound: no valid placement has a smaller value; None where nothing was proven.
        proof: what the bound rests on.
        method: the solver that found the placement.
        basis: what all figures rest on, together.
        latency: predicted seconds of one inference, whatever the objective is.
        edges: tensors between units: producer, readers, bytes, name.
        unmet: a sentence for each gate that is not passed.
    """

    model: str
    objective: str
    value: float
    bound: float | None
    proof: str
    method: str
    basis: str
    latency: float
    placement: Placement
    units: tuple[UnitPlan, ...]
    parts: tuple[PartPlan, ...]
    transfers: tuple[TransferPlan, ...]
    targets: tuple[TargetPlan, ...]
    refusals: tuple[RefusalGroup, ...]
    alternatives: tuple[Alternative, ...]
    edges: tuple[tuple[int, tuple[int, ...], int, str], ...] = ()
    unmet: tuple[str, ...] = field(default=())

    @property
    def gap(self) -> float | None:
        """How far the value is above the bound, at most (0.01 = 1 %); None when nothing is proven."""
        if self.bound is None:
            return None
        if self.value <= self.bound * (1 + 1e-9):
            return 0.0
        return (self.value - self.bound) / self.bound if self.bound > 0 else None
