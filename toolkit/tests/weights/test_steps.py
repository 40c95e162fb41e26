"""The steps on whole networks: what they gain on samples that had no part in it, and what they leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from deepseek.quantization import QuantizationRecipe
from deepseek.quantization.execution import Runner
from deepseek.quantization.run import run, start
from deepseek.quantization.work import Work

from deepseek_core import DType, QuantizedModel, Role
from deepseek_core.errors import ConfigError


def finished(model: QuantizedModel, samples: Any, precision: str, *steps: dict[str, Any]) -> Work:
    recipe = QuantizationRecipe.from_json(
        {"precision": precision, "calibrator": {"method": "minmax"}, "steps": list(steps)}
    )
    return run(start(model, samples, recipe), recipe)


def snr(work: Work, samples: Any) -> float:
    """Of the outputs, in dB."""
    with Runner(work.origin) as right, Runner(work.quantized()) as ours:
        pairs = [(right(sample)["y"], ours(sample)["y"]) for sample in samples]
    noise = sum(float(np.square(y - z).sum()) for y, z in pairs)
    return float(10 * np.log10(sum(float(np.square(y).sum()) for y, _ in pairs) / noise))


@pytest.mark.parametrize(("precision", "gain"), [("w4a8", 4.0), ("int8", 0.2)])
def test_learned_rounding_on_a_convolutional_network(
    residual: QuantizedModel, pictures: Any, precision: str, gain: float
) -> None:
    shown, unseen = pictures[:8], pictures[8:]
    nearest = snr(finished(residual, shown, precision), unseen)
    learned = finished(residual, shown, precision, {"step": "learn_rounding"})
    assert snr(learned, unseen) > nearest + gain
    assert [note.subject for note in learned.log] == ["stem", "depthwise", "project", "head"]
    assert all(note.figures["snr_db"] >= note.figures["snr_nearest_db"] - 0.5 for note in learned.log)


@pytest.mark.parametrize("step", ["gptq", "learn_rounding", "round_to_nearest"])
@pytest.mark.parametrize("stages", [0, 1])
def test_blocks_of_four_bits(attention: QuantizedModel, texts: Any, step: str, stages: int) -> None:
    shown, unseen = texts[:8], texts[8:]
    options = {} if step == "round_to_nearest" else {"stages": stages}
    nearest = snr(finished(attention, shown, "int4"), unseen)
    work = finished(attention, shown, "int4", {"step": step, **options})
    gains = [note.figures["snr_db"] - note.figures["snr_nearest_db"] for note in work.log if note.figures]
    assert min(gains) > -0.2
    assert max(gains) > 1
    assert snr(work, unseen) > nearest + (-0.3 if step == "round_to_nearest" else 2.0)
    units = [unit for unit in work.quantized().units() if unit.operands(Role.WEIGHT)]
    assert {unit.operands(Role.WEIGHT)[0].dtype for unit in units} <= {DType.INT4, DType.UINT4}


@pytest.mark.parametrize("step", ["gptq", "learn_rounding", "round_to_nearest"])
@pytest.mark.parametrize("precision", ["int8", "w4a8"])
def test_same_bits_every_time(residual: QuantizedModel, pictures: Any, step: str, precision: str) -> None:
    one, two = (finished(residual, pictures[:4], precision, {"step": step}).quantized() for _ in range(2))
    assert one.digest() == two.digest()


def test_layers_with_one_weight_keep_one(attention: QuantizedModel, texts: Any) -> None:
    work = finished(attention, texts, "int4", {"step": "gptq"})
    np.testing.assert_array_equal(work.weights["key", 1].codes, work.weights["value", 1].codes)
    assert "shares the weight of 'key'" in next(note.text for note in work.log if note.subject == "value")


def test_a_bias_behind_a_product_takes_the_mean(attention: QuantizedModel, texts: Any) -> None:
    def mean_error(step: dict[str, Any]) -> float:
        work = finished(attention, texts, "int4", step)
        with Runner(work.origin) as right, Runner(work.quantized()) as ours:
            errors = [ours(sample)["y"] - right(sample)["y"] for sample in texts]
        return float(np.abs(np.concatenate(errors, axis=1).mean(axis=(0, 1))).max())

    with_bias, without = (mean_error({"step": "learn_rounding", "bias": bias}) for bias in (True, False))
    assert with_bias < 0.3 * without


def test_one_row_of_massive_power_does_not_decide_for_the_others(single: Any) -> None:
    rng = np.random.default_rng(12)
    weight, bias = rng.laplace(size=(16, 32)).astype(np.float32), np.zeros(16, np.float32)
    _, model = single("Gemm", ("N", 32), weight, bias, transB=1)
    usual = [{"x": rng.standard_normal((40, 32)).astype(np.float32)} for _ in range(12)]
    massive = (1000 * rng.standard_normal((1, 32))).astype(np.float32)
    shown = [{"x": np.concatenate([massive, sample["x"]])} for sample in usual]
    plain, work = finished(model, shown, "int4"), finished(model, shown, "int4", {"step": "learn_rounding"})
    assert snr(work, usual) > snr(plain, usual)


def test_four_bits_reach_convolutions_and_gemms_of_float_data(residual: QuantizedModel, pictures: Any) -> None:
    work = finished(residual, pictures[:8], "int4", {"step": "learn_rounding"})
    units = {unit.name: unit for unit in work.quantized().units() if unit.operands(Role.WEIGHT)}
    kinds = {name: str(units[name].operands(Role.WEIGHT)[0].dtype) for name in ("stem", "depthwise", "project", "head")}
    assert kinds == {"stem": "int4", "depthwise": "int4", "project": "int4", "head": "uint4"}
    assert all(unit.operands(Role.DATA)[0].qparams is None for unit in units.values())
    assert snr(work, pictures[8:]) > snr(finished(residual, pictures[:8], "int4"), pictures[8:]) + 3


def test_what_was_chosen_before_gives_the_scales(residual: QuantizedModel, pictures: Any) -> None:
    first = finished(residual, pictures, "w4a8", {"step": "round_to_nearest"})
    options = {"ranges": False, "stages": 1}
    then = finished(residual, pictures, "w4a8", {"step": "round_to_nearest"}, {"step": "gptq", **options})
    for key, weight in first.weights.items():
        np.testing.assert_array_equal(then.weights[key].params.scale, weight.params.scale)
    assert any(not np.array_equal(then.weights[key].codes, first.weights[key].codes) for key in first.weights)


def test_units_kept_in_float_are_left_out(residual: QuantizedModel, pictures: Any) -> None:
    work = finished(
        residual, pictures, "int8", {"step": "keep_float", "units": ["project"]}, {"step": "learn_rounding"}
    )
    assert ("project", 1) not in work.weights
    assert len(work.weights) == 3
    assert snr(work, pictures) > 20


def test_the_given_work_stays_as_it_is(residual: QuantizedModel, pictures: Any) -> None:
    recipe = QuantizationRecipe.from_json({"steps": [{"step": "learn_rounding"}]})
    before = start(residual, pictures, recipe)
    digest = before.model.digest()
    after = run(before, recipe)
    assert before.model.digest() == before.origin.digest() == digest
    assert after.origin is before.origin
    assert not before.weights
    assert not before.log


def test_rounding_to_nearest_drops_codes_of_earlier_steps(residual: QuantizedModel, pictures: Any) -> None:
    work = finished(residual, pictures, "int8", {"step": "gptq"}, {"step": "round_to_nearest", "ranges": "minmax"})
    plain = finished(residual, pictures, "int8")
    assert work.quantized().digest() == plain.quantized().digest()


@pytest.mark.parametrize(
    "options",
    [
        {"step": "round_to_nearest", "ranges": "best"},
        {"step": "gptq", "damping": 1.5},
        {"step": "gptq", "rows": 0},
        {"step": "learn_rounding", "sweeps": -1},
    ],
)
def test_impossible_options(residual: QuantizedModel, pictures: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        finished(residual, pictures, "int8", options)
