"""Products in two launches: chosen where they win, and the same sums bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.lowering import lower
from deepseek_backend_rocm.plan.bind import Codes, bind
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.program import ALIGNMENT, Image, Port
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_backend_rocm.selection.choose import Choice, Chooser
from deepseek_backend_rocm.selection.splitting import splits
from deepseek_backend_rocm.targets import GPUS, LAUNCH
from deepseek_backend_rocm.verification.sampling import sample
from deepseek_core.reference import evaluate


def _kernels(choice: Choice) -> list[str]:
    return [step.kernel for step, _ in choice.launches]


def _product(inner: int, **changed: int) -> Step:
    """A step without tensors."""
    values = {"rows": 7, "n": 33, "c": inner, "depth": -(-inner // 128) * 128, "x_row": inner, "y_row": 33, "taps": 1}
    constants = {"MODE": 0, "ADD": False, "REAL": False}
    (step,) = lower(sample("long product", 0).model).steps
    values, constants = {**step.values, **values}, {**constants, **changed}
    return Step("conv", step.memory, values, constants, {"y": "i8"}, macs=7 * 33 * inner)


@given(st.integers(1, 40000))
def test_parts_are_whole_steps_and_cover_every_place_once(inner) -> None:
    for first, second in splits(_product(inner)):
        span, parts = first.integer("span"), first.batch
        assert span % 128 == 0
        assert (parts - 1) * span < inner <= parts * span
        assert second.integer("parts") == parts > 1
        assert first.memory["y"] is second.memory["x"]
        assert first.memory["y"].bytes == 4 * parts * 7 * 33


def test_windows_and_groups_are_not_split() -> None:
    assert list(splits(_product(9000, MODE=1))) == []
    assert list(splits(_product(100))) == []


def test_long_sums_of_few_are_split_and_others_not(triton) -> None:
    chooser = Chooser(GPUS["gfx942"])
    assert _kernels(chooser.choose(_product(9000))) == ["part", "join"]
    assert _kernels(chooser.choose(_product(1280))) == ["conv"]
    assert chooser.choose(_product(9000)).seconds > LAUNCH
    assert _kernels(Chooser(GPUS["gfx942"], search=False).choose(_product(9000))) == ["conv"]


@pytest.mark.parametrize("architecture", ["gfx942", "gfx1100"])
def test_every_way_to_split_gives_the_same_codes(triton, architecture) -> None:
    """Odd sizes, with parts of unequal length."""
    unit = sample("long product", 4)
    feeds = unit.feeds(1)
    (expected,) = evaluate(unit.model, feeds).values()
    gpu = GPUS[architecture]
    for parts in splits(lower(unit.model).steps[0]):
        plan = lower(unit.model)
        (step,) = plan.steps
        first, second = next(way for way in splits(step) if way[0].batch == parts[0].batch)
        chooser = Chooser(gpu, search=False)
        launches = [(one, chooser.choose(one).built) for one in (first, second)]
        codes = Codes()
        program = bind(launches, plan.arena, codes)
        assert program.arena >= plan.arena + first.memory["y"].bytes
        assert first.memory["y"].place % ALIGNMENT == 0
        ports = ((Port(p.name, p.dtype, p.shape, p.buffer.place),) for p in (plan.inputs[0], plan.outputs[0]))
        image = Image(*ports, {architecture: program}, plan.constants, codes.all())
        executable = RocmExecutable(image, EmulatedDevice(architecture))
        (actual,) = executable.run(feeds).values()
        executable.close()
        np.testing.assert_array_equal(actual, expected)
