"""What units and conversions cost on the targets, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import onnx_ir as ir

from deepseek.quantization.search.formats import FLOAT16, FLOAT32, Menu
from deepseek.quantization.search.half import to_half
from deepseek.quantization.work import Work
from deepseek_core import Backend, Cost, QuantizedModel, Target, Unit
from deepseek_core.calibration import Calibration
from deepseek_core.partition import refusal_reason, roofline
from deepseek_core.quantize import apply_recipe

__all__ = ["Prices", "prices"]


@dataclass(frozen=True, slots=True)
class Prices:
    """Predicted seconds.

    Attributes:
        units: unit name → format → of running it once.
        conversions: value name → type in words → of converting the value to that type, or back from it.
    """

    units: Mapping[str, Mapping[str, float]]
    conversions: Mapping[str, Mapping[str, float]]


def prices(work: Work, menu: Menu, calibration: Calibration) -> Prices:
    """Prices by the targets' own cost hooks, by the roofline where a target has none; the cheapest target counts.

    A unit is priced as it stands in the model with every unit in the format. The time to launch a part is left out:
    it is one launch for however many units.
    """
    till = _Till(work)
    models = {FLOAT32: work.model}
    models |= {
        name: apply_recipe(work.model, recipe, calibration, work.calibrators) for name, recipe in menu.recipes.items()
    }
    half = [name for name, formats in menu.units.items() if any(f.name == FLOAT16 for f in formats)]
    if half:
        models[FLOAT16] = to_half(work.model, half)
    units: dict[str, dict[str, float]] = {name: {} for name in menu.units}
    for format_name, model in models.items():
        present = {unit.name: unit for unit in model.units()}
        for name, formats in menu.units.items():
            if any(f.name == format_name for f in formats):
                parts = (present[step] for step in menu.steps[name] if step in present)
                units[name][format_name] = sum(map(till.seconds, parts))
    return Prices(units, _conversions(work, menu, till))


def _conversions(work: Work, menu: Menu, till: _Till) -> dict[str, dict[str, float]]:
    """Of every value that has more than one type in some assignment."""
    types: dict[str, dict[str, None]] = {}
    for formats in menu.units.values():
        for form in formats:
            for value, kind in form.reads.items():
                types.setdefault(value, {})[kind] = None
            for value, kinds in form.makes.items():
                types.setdefault(value, {}).update(dict.fromkeys(kinds))
    shapes = {value.name or "": value.shape for value in _values(work.model.graph)}
    return {value: {kind: till.conversion(shapes.get(value), kind) for kind in kinds} for value, kinds in types.items()}


def _values(graph: ir.Graph) -> Iterable[ir.Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs


class _Till:
    """Asks the targets."""

    def __init__(self, work: Work) -> None:
        found = [work.registry.resolve(str(table.target)) for table in work.capabilities]
        self._targets: list[tuple[Backend, Target]] = found
        self._conversions: dict[tuple[int, str], float] = {}

    def seconds(self, unit: Unit) -> float:
        """Of the unit on the target that runs it fastest; where none claims to, on the first."""
        willing = [(b, t) for b, t in self._targets if refusal_reason(unit, b.capabilities(t)) is None]
        return min(self._price(unit, *pair) for pair in willing or self._targets[:1])

    def conversion(self, shape: ir.Shape | None, kind: str) -> float:
        """Of one Q, DQ or Cast between float32 and the type; float32 itself is priced as a conversion back."""
        size = 1
        for dim in shape or ():
            size *= dim if isinstance(dim, int) else 1
        key = (size, kind)
        if key not in self._conversions:
            self._conversions[key] = self.seconds(_converter(shape, kind))
        return self._conversions[key]

    def _price(self, unit: Unit, backend: Backend, target: Target) -> float:
        table = backend.capabilities(target)
        cost: Cost = backend.cost([unit], target) or roofline([unit], table)
        return max(cost.seconds - table.launch, 0.0)


@lru_cache(maxsize=1)
def _types() -> Mapping[str, ir.DataType]:
    return {
        "float16": ir.DataType.FLOAT16,
        "uint16": ir.DataType.UINT16,
        "int16": ir.DataType.INT16,
        "uint8": ir.DataType.UINT8,
        "int8": ir.DataType.INT8,
        "float8_e4m3fn": ir.DataType.FLOAT8E4M3FN,
    }


def _converter(shape: ir.Shape | None, kind: str) -> Unit:
    """A conversion alone in a graph."""
    value = ir.Value(name="real", type=ir.TensorType(ir.DataType.FLOAT), shape=shape or ir.Shape(()))
    dtype = _types().get(kind.split(maxsplit=1)[0], ir.DataType.UINT8)
    if kind == FLOAT16:
        node = ir.node("Cast", [value], {"to": ir.DataType.FLOAT16.value}, name="convert")
        constants = []
    else:
        constants = [_scalar("scale", 1.0, ir.DataType.FLOAT), _scalar("zero", 0, dtype)]
        node = ir.node("QuantizeLinear", [value, *constants], name="convert")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = "codes", ir.TensorType(dtype), value.shape
    graph = ir.Graph([value], node.outputs, nodes=[node], initializers=constants, opset_imports={"": 21}, name="c")
    return QuantizedModel(ir.Model(graph, ir_version=10)).units()[0]


def _scalar(name: str, number: float, dtype: ir.DataType) -> ir.Value:
    tensor = ir.tensor([number], dtype=dtype, name=name)
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape((1,)), const_value=tensor)
