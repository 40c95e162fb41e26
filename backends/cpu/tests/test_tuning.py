"""The choice between kernels, with made-up measurements: no test depends on how fast this machine is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from deepseek_backend_cpu.kernels import FLOAT32, INT8, candidates, kernel_names
from deepseek_backend_cpu.lowering import float_differs
from deepseek_backend_cpu.tuning import choose as choosing
from deepseek_backend_cpu.tuning import measurer as measuring
from deepseek_backend_cpu.tuning.choose import choose, preset
from deepseek_backend_cpu.tuning.layout import channels_last_values
from deepseek_backend_cpu.tuning.measurer import Measurer
from deepseek_backend_cpu.tuning.micro import concrete, micro_model, symbol_sizes
from deepseek_core import Basis, CompileOptions, Target

OPTIONS = CompileOptions(threads=1)
WEIGHT = np.random.default_rng(0).integers(-127, 128, (4, 4, 3, 3)).astype(np.int8)


def chain(b, count=3, batch=1):
    """Convolutions `conv0` … between a float input and a float output."""
    x = b.q(b.input("x", (batch, 4, 8, 8)), 0.02, 3)
    for index in range(count):
        w = b.weight(WEIGHT, np.full(4, 0.002), axis=0)
        x = b.q(b.op("Conv", b.dq(x, 0.02, 3), w, name=f"conv{index}", pads=[1, 1, 1, 1]), 0.02, 3)
    b.output(b.dq(x, 0.02, 3), "y")
    return b.model()


@pytest.fixture
def figures(monkeypatch):
    """Costs by unit name; `transpose` and `whole` as given."""

    found = SimpleNamespace(units={}, transpose=0.0, whole={})
    monkeypatch.setattr(Measurer, "unit", lambda _self, unit: found.units.get(unit.name, {}))
    monkeypatch.setattr(Measurer, "transpose", lambda *_: found.transpose)
    monkeypatch.setattr(
        Measurer, "whole", lambda _self, payloads, **_: {k: found.whole[k] for k in payloads if k in found.whole}
    )
    return found


def chosen(model, cpu):
    return choose(model, cpu.target, OPTIONS, here=True).integer


def test_the_faster_kernel_wins(cpu, builder, figures) -> None:
    figures.units = {
        "conv0": {INT8: 3.0, FLOAT32: 1.0},
        "conv1": {INT8: 1.0, FLOAT32: 3.0},
        "conv2": {INT8: 1.0, FLOAT32: 1.5},
    }
    assert chosen(chain(builder), cpu) == {"conv1", "conv2"}


def test_a_change_of_layout_has_its_price(cpu, builder, figures) -> None:
    figures.units = {
        "conv0": {INT8: 1.0, FLOAT32: 9.0},
        "conv1": {INT8: 1.5, FLOAT32: 1.0},
        "conv2": {INT8: 1.0, FLOAT32: 9.0},
    }
    figures.transpose = 0.3
    assert chosen(chain(builder), cpu) == {"conv0", "conv1", "conv2"}
    figures.transpose = 0.2
    assert chosen(chain(type(builder)()), cpu) == {"conv0", "conv2"}


def test_a_whole_model_that_measures_better_overrules(cpu, builder, figures) -> None:
    figures.units = {f"conv{i}": {INT8: 1.0 + (i == 0), FLOAT32: 1.5} for i in range(3)}
    figures.whole = {"chosen": 3.0, INT8: 2.5, FLOAT32: 4.0}
    choice = choose(chain(builder), cpu.target, OPTIONS, here=True)
    assert choice.integer == {"conv0", "conv1", "conv2"}
    assert choice.whole == figures.whole
    figures.whole[FLOAT32] = 1.0
    assert chosen(chain(type(builder)()), cpu) == frozenset()


def test_variants_that_are_the_same_are_measured_once(cpu, builder, figures, monkeypatch) -> None:
    figures.units = {f"conv{i}": {INT8: 1.0, FLOAT32: 2.0} for i in range(3)}
    measured = []
    monkeypatch.setattr(Measurer, "whole", lambda _self, payloads, **_: measured.append(set(payloads)) or {})
    assert chosen(chain(builder), cpu) == {"conv0", "conv1", "conv2"}
    assert measured == [{"chosen", FLOAT32}]


def test_where_nothing_can_be_measured_estimates_count(cpu, builder, figures) -> None:
    choice = choose(chain(builder), cpu.target, OPTIONS, here=True)
    assert choice.integer == {"conv0", "conv1", "conv2"}
    assert all(by[INT8] < by[FLOAT32] for by in choice.latencies.values())


def test_another_machine_is_estimated(builder) -> None:
    choice = choose(chain(builder), Target("cpu", "aarch64"), OPTIONS, here=False)
    assert choice.basis is Basis.ANALYTIC
    assert choice.integer == {"conv0", "conv1", "conv2"}


def test_a_sum_that_float_cannot_hold_stays_in_int8(builder) -> None:
    x = builder.codes("x", (2, 3))
    w = builder.weight(np.full((3, 5), 127, np.int8), 0.004)
    bias = builder.weight(np.full(5, 2**31 - 1, np.int32), np.float32(0.02) * np.float32(0.004))
    builder.output(builder.q(builder.op("Gemm", x, w, bias, name="unit"), 1000.0, 3), "y")
    model = builder.model()
    (unit,) = model.units()
    assert float_differs(unit) == "its int32 sum may wrap"
    assert kernel_names(unit) == (INT8,)
    assert preset(model, FLOAT32).integer == {"unit"}


def test_a_fine_output_scale_needs_the_exact_sum(builder, builders) -> None:
    def unit_with(scale):
        b = builders()
        w = b.weight(np.full((512, 5), 127, np.int8), 0.004)
        b.output(b.q(b.op("Gemm", b.codes("x", (2, 512)), w, name="unit"), scale, 3), "y")
        (unit,) = b.model().units()
        return unit

    assert float_differs(unit_with(1.0)) is None
    assert "rounding tie" in float_differs(unit_with(1e-5))


def test_units_are_measured_once_and_remembered(cpu, builder, builders, monkeypatch) -> None:
    taken = []
    monkeypatch.setattr(
        measuring, "measure", lambda runners, **_: taken.append(set(runners)) or dict.fromkeys(runners, 1e-5)
    )
    first = choose(chain(builder), cpu.target, OPTIONS, here=True)
    assert taken.count({INT8, FLOAT32}) == 1, "three equal units share one measurement"
    assert set(first.latencies) == {"conv0", "conv1", "conv2"}
    taken.clear()
    choose(chain(builders()), cpu.target, OPTIONS, here=True)
    assert {INT8, FLOAT32} not in taken
    assert {"transpose"} not in taken


def test_a_second_process_finds_the_measurements(cpu, builder, builders, monkeypatch) -> None:
    choose(chain(builder), cpu.target, OPTIONS, here=True)
    measuring.open_cache()
    from deepseek_backend_cpu.tuning import memory

    memory._cache.cache_clear()
    monkeypatch.setattr(Measurer, "_measure_apart", lambda *_: pytest.fail("measured again"))
    choose(chain(builders()), cpu.target, OPTIONS, here=True)


def test_other_thread_counts_are_measured_anew(cpu, builder, builders, monkeypatch) -> None:
    choose(chain(builder), cpu.target, OPTIONS, here=True)
    taken = []
    monkeypatch.setattr(
        measuring, "measure", lambda runners, **_: taken.append(set(runners)) or dict.fromkeys(runners, 1e-5)
    )
    choose(chain(builders()), cpu.target, CompileOptions(threads=2), here=True)
    assert {INT8, FLOAT32} in taken


def test_candidates_are_measured_once_they_are_known(cpu, builder) -> None:
    model = chain(builder)
    unit = next(u for u in model.units() if u.name == "conv0")
    assert {c.estimate.basis for c in candidates(unit, cpu.target)} == {"analytic"}
    choose(model, cpu.target, CompileOptions(), here=True)
    found = candidates(unit, cpu.target)
    assert {c.name for c in found} == {INT8, FLOAT32}
    assert {c.estimate.basis for c in found} == {"measured"}
    assert found[0].estimate.seconds <= found[1].estimate.seconds
    assert cpu.backend.cost([unit], cpu.target).bases.keys() >= {Basis.MEASURED}
    other = Target("cpu", "aarch64" if cpu.target.device == "x86_64" else "x86_64")
    assert {c.estimate.basis for c in candidates(unit, other)} == {"analytic"}


def test_symbolic_dimensions_have_a_size_to_measure_with(cpu, builder) -> None:
    model = chain(builder, batch="n")
    assert symbol_sizes(model) == {"n": 1}
    choice = choose(model, cpu.target, OPTIONS, here=True)
    assert set(choice.latencies["conv0"]) == {INT8, FLOAT32}


def test_an_unknown_dimension_cannot_be_measured(builder) -> None:
    model = chain(builder, count=1, batch=None)
    unit = next(u for u in model.units() if u.name == "conv0")
    assert micro_model(unit, {}) is None
    assert concrete(unit.outputs[0].value.shape, {}) is None


def test_images_between_integer_units_are_channels_last(builder) -> None:
    x = builder.codes("x", (1, 4, 8, 8))
    first = builder.q(builder.op("Sigmoid", x, name="sigmoid"), 0.02, 3, name="a")
    w = builder.weight(WEIGHT, np.full(4, 0.002), axis=0)
    second = builder.q(builder.op("Conv", builder.dq(first, 0.02, 3), w, name="conv"), 0.02, 3, name="b")
    flat = builder.q(builder.op("Flatten", builder.dq(second, 0.02, 3), name="flatten"), 0.02, 3, name="c")
    builder.output(flat)
    apart = builder.codes("apart", (1, 4, 8, 8))
    builder.output(builder.q(builder.op("Sigmoid", apart, name="alone"), name="d"))
    found = {value.name for value in channels_last_values(builder.model().units())}
    assert found == {"x", "a", "b"}


def test_a_micro_model_has_one_unit_and_its_layout(builder) -> None:
    model = chain(builder, batch="n")
    unit = next(u for u in model.units() if u.name == "conv1")
    plain = micro_model(unit, {"n": 2})
    assert [u.name for u in plain.units() if u.is_quantized] == ["conv1"]
    assert [i.shape for i in plain.inputs] == [(2, 4, 8, 8)]
    last = micro_model(unit, {"n": 2}, channels_last_values(model.units()))
    assert [i.shape for i in last.inputs] == [(2, 8, 8, 4)]
    assert [last.graph[0].op_type, last.graph[-1].op_type] == ["Transpose", "Transpose"]
    assert model.digest() == chain(type(builder)(), batch="n").digest()


def test_data_that_cannot_be_made_up_skips_the_comparison(cpu, builder) -> None:
    """A reshape whose target is fed: zeros do not fit, and the choice stands without the last check."""
    shape = builder.input("shape", (1,), np.int64)
    x = builder.op("Reshape", builder.input("x", (2, 8)), shape)
    weight = builder.weight(np.ones((16, 4), np.int8), 0.01)
    product = builder.op("MatMul", builder.dq(builder.q(x, 0.02, 3), 0.02, 3), weight, name="unit")
    builder.output(builder.q(product), "y")
    assert choosing.choose(builder.model(), cpu.target, OPTIONS, here=True).whole == {}
