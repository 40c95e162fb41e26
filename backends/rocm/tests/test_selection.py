"""Selection: what is read from assembly, what rules a variant out, what ranks the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_backend_rocm.assembly import Listing, read_assembly
from deepseek_backend_rocm.building import Built
from deepseek_backend_rocm.devices.base import Recording
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.kernels.signatures import Variant
from deepseek_backend_rocm.lowering import lower
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.selection import choose
from deepseek_backend_rocm.selection.candidates import candidates, grid_of
from deepseek_backend_rocm.selection.choose import Chooser, shortlist
from deepseek_backend_rocm.selection.model import cost_of, issue_of, problem_of
from deepseek_backend_rocm.selection.timing import DeviceTimer
from deepseek_backend_rocm.targets import ARCHITECTURES, GPUS
from deepseek_core.errors import BackendError

_ASSEMBLY = """
kernel:
  s_load_dwordx2 s[0:1], s[4:5], 0x0
.LBB0_1:                                ; =>This Loop Header
  v_add_u32_e32 v1, v1, v2
.LBB0_2:                                ; Inner Loop
  ds_read_b64 v[2:3], v9
  s_waitcnt lgkmcnt(0)
  v_mfma_i32_32x32x16_i8 a[0:15], v[2:3], v[4:5], a[0:15]
  v_mfma_i32_32x32x16_i8 a[0:15], v[2:3], v[4:5], a[0:15]
  s_cbranch_scc1 .LBB0_2
  s_cbranch_vccnz .LBB0_1
.LBB0_3:
  s_endpgm
; Occupancy: 4
  .vgpr_count:     60
  .agpr_count:     16
  .sgpr_count:     30
  .vgpr_spill_count: 2
  .sgpr_spill_count: 5
  .kernarg_segment_size: 72
"""


def test_the_inner_loop_is_counted() -> None:
    listing = read_assembly(_ASSEMBLY)
    assert (listing.vector, listing.accumulator, listing.spills, listing.occupancy) == (60, 16, 2, 4)
    assert listing.arguments == 72
    counts = {"ds_read_b64": 1, "s_cbranch_scc1": 1, "s_waitcnt": 1, "v_mfma_i32_32x32x16_i8": 2}
    assert listing.inner == counts
    assert listing.whole["v_add_u32_e32"] == 1


@pytest.mark.parametrize(
    ("gpu", "instruction", "cycles"),
    [
        ("gfx90a", "v_mfma_i32_32x32x8i8", 64),
        ("gfx90a", "v_mfma_i32_16x16x16i8", 32),
        ("gfx942", "v_mfma_i32_32x32x16_i8", 32),
        ("gfx942", "v_mfma_i32_16x16x32_i8", 16),
        ("gfx950", "v_mfma_i32_32x32x32_i8", 32),
        ("gfx1030", "v_dot4c_i32_i8", 1),
        ("gfx1100", "v_wmma_i32_16x16x16_iu8", 32),
        ("gfx1201", "v_wmma_i32_16x16x16_iu8", 8),
        ("gfx90a", "v_mfma_f32_32x32x8f16", 64),
        ("gfx90a", "v_mfma_f32_16x16x16bf16_1k", 32),
        ("gfx90a", "v_mfma_f32_32x32x2f32", 64),
        ("gfx942", "v_mfma_f32_32x32x8_f16", 32),
        ("gfx942", "v_mfma_f32_16x16x16_bf16", 16),
        ("gfx942", "v_mfma_f32_32x32x2_f32", 64),
        ("gfx950", "v_mfma_f32_32x32x16_f16", 32),
        ("gfx950", "v_mfma_f32_32x32x2_f32", 64),
        ("gfx1100", "v_wmma_f32_16x16x16_f16", 32),
        ("gfx1201", "v_wmma_f32_16x16x16_bf16", 16),
    ],
)
def test_matrix_instructions_take_the_documented_cycles(gpu, instruction, cycles) -> None:
    """By AMD's Matrix Instruction Calculator, and LLVM's scheduling model for gfx950; dot4 at the full rate."""
    assert issue_of({instruction: 1}, GPUS[gpu]).matrix == cycles


@pytest.mark.parametrize(
    ("gpu", "instruction", "cycles"),
    [
        ("gfx942", "v_add_u32_e32", 4),
        ("gfx942", "v_exp_f32_e32", 16),
        ("gfx942", "v_mul_lo_u32", 4),
        ("gfx1100", "v_add_nc_u32_e32", 1),
        ("gfx1100", "v_exp_f32_e32", 4),
        ("gfx1100", "v_rcp_f32_e32", 4),
        ("gfx1100", "v_mul_lo_u32", 4),
        ("gfx1100", "v_mul_f32_e32", 1),
    ],
)
def test_what_is_transcendental_issues_at_a_quarter_of_the_rate(gpu, instruction, cycles) -> None:
    assert issue_of({instruction: 1}, GPUS[gpu]).other == cycles


def test_loops_one_after_the_other_are_counted_together() -> None:
    twice = _ASSEMBLY.replace(
        ".LBB0_3:", ".LBB0_3:\n  v_mfma_i32_32x32x16_i8 a[0:15], v[2:3], v[4:5], a[0:15]\n  s_cbranch_scc0 .LBB0_3"
    )
    assert read_assembly(twice).inner == read_assembly(_ASSEMBLY).inner
    both = read_assembly(twice, 2).inner
    assert both["v_mfma_i32_32x32x16_i8"] == 3
    assert both["s_cbranch_scc0"] == both["s_cbranch_scc1"] == 1


def test_the_share_of_matrix_instructions_leaves_waits_out() -> None:
    issue = issue_of(read_assembly(_ASSEMBLY).inner, GPUS["gfx942"])
    assert (issue.matrix, issue.other) == (64, 4 + 1)  # 512 bytes of LDS at 128 a cycle, and the branch
    assert issue.efficiency == 64 / 69


def _built(**changed: int) -> Built:
    facts = {"vector": 64, "accumulator": 0, "scalar": 30, "spills": 0, "scratch": 0, "arguments": 72, "occupancy": 4}
    shared, threads = changed.pop("shared", 8192), changed.pop("threads", 256)
    listing = Listing(**{**facts, **changed}, inner={}, whole={"v_mfma_i32_32x32x16_i8": 4})
    constants = {"BM": 64, "BN": 64, "BK": 64, "MODE": 0, "EVEN": True, "ADD": False, "REAL": False}
    return Built(Variant.of("conv", constants), b"", "conv", threads, shared, listing)


@pytest.mark.parametrize(
    ("built", "gpu", "said"),
    [
        (_built(spills=2, scratch=8), "gfx942", "spills 2 registers in 8 bytes"),
        (_built(scratch=20), "gfx942", "20 bytes a lane"),
        (_built(shared=70000), "gfx942", "70,000 bytes of LDS"),
        (_built(), "gfx1100", "no v_wmma_i32_ instruction"),
        (_built(occupancy=1, threads=2048), "gfx942", "cannot hold one workgroup"),
    ],
)
def test_what_rules_a_variant_out(built, gpu, said) -> None:
    assert said in (problem_of(built, GPUS[gpu]) or "")


def test_what_fits_is_not_ruled_out() -> None:
    assert problem_of(_built(), GPUS["gfx942"]) is None
    assert problem_of(_built(shared=70000), GPUS["gfx950"]) is None


@given(st.integers(1, 5000), st.integers(1, 2000), st.integers(1, 40).map(lambda n: 32 * n))
def test_grids_cover_the_product_and_depths_divide(rows, columns, depth) -> None:
    values = {"rows": rows, "n": columns, "c": depth, "depth": depth, "taps": 1, "x_row": depth, "y_row": columns}
    step = Step("conv", {}, values, {"MODE": 0, "ADD": False, "REAL": False}, {"y": "i8"})
    for gpu in ARCHITECTURES.values():
        found = candidates(step, gpu)
        assert found
        for variant in found:
            x, y, _ = grid_of(step, variant)
            assert x * variant.constant("BM") >= rows > (x - 1) * variant.constant("BM")
            assert y * variant.constant("BN") >= columns > (y - 1) * variant.constant("BN")
            assert depth % variant.constant("BK") == 0


def test_more_work_costs_more() -> None:
    step = Step("conv", {}, {"rows": 4096, "n": 512, "c": 512, "depth": 512, "taps": 1}, {"MODE": 0})
    larger = replace(step, values={**step.values, "c": 1024, "depth": 1024})
    built = _built()
    loop = replace(built, listing=replace(built.listing, inner={"v_mfma_i32_32x32x16_i8": 4}))
    assert 0 < cost_of(step, loop, GPUS["gfx942"]) < cost_of(larger, loop, GPUS["gfx942"])


def test_a_step_that_no_variant_fits_is_refused_with_the_reason(network, triton, monkeypatch) -> None:
    step = next(step for step in lower(network).steps if step.kernel == "conv")
    monkeypatch.setattr(choose, "problem_of", lambda *_: "it spills 9 registers")
    with pytest.raises(BackendError, match=r"no kernel fits 'c1.*' on gfx942: it spills 9 registers"):
        Chooser(GPUS["gfx942"]).choose(step)


def test_figures_are_kept_and_timing_replaces_the_model(triton, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))
    step = Step(
        "conv",
        {},
        {"rows": 256, "n": 64, "c": 64, "depth": 64, "taps": 1, "x_row": 64, "y_row": 64},
        {"MODE": 0, "ADD": False, "REAL": False},
        {"y": "i8"},
        macs=2**20,
    )
    names = [variant.name for variant in shortlist(step, GPUS["gfx1100"])]
    assert len(names) > 1
    asked: list[str] = []

    def timed(_: Step, built: Built) -> float:
        asked.append(built.variant.name)
        return 1.0 if built.variant.name == names[-1] else 2.0

    chooser = Chooser(GPUS["gfx1100"], timed, "card")
    choice = chooser.choose(step)
    assert (choice.built.variant.name, choice.basis) == (names[-1], "measured")
    chooser.save()
    assert Path(tmp_path / "rocm-tuning.json").exists()
    asked.clear()
    again = Chooser(GPUS["gfx1100"], timed, "card").choose(step)
    assert (again.built.variant.name, again.seconds, asked) == (names[-1], 1.0, [])
    assert Chooser(GPUS["gfx1100"]).choose(step).basis == "analytic"


class _Device(EmulatedDevice):
    """An emulator that pretends to have a clock."""

    def seconds(self, recording: Recording, repeats: int) -> float:
        assert repeats > 1
        recording.run()
        return 0.25


def test_a_device_times_launches_of_a_step(network, triton) -> None:
    step = next(step for step in lower(network).steps if step.kernel == "depthwise")
    timer = DeviceTimer(_Device("gfx942"))
    built = Chooser(GPUS["gfx942"]).choose(step).built
    assert timer(step, built) == 0.25
    assert Chooser(GPUS["gfx942"], timer, timer.name).choose(step).basis == "analytic"  # there is no other candidate
    timer.close()


def test_without_a_search_one_candidate_is_compiled(network, triton, monkeypatch) -> None:
    step = replace(next(step for step in lower(network).steps if step.kernel == "conv"), macs=2**30)
    built: list[str] = []
    compile_one = choose.build
    monkeypatch.setattr(choose, "build", lambda variant, gpu: built.append(gpu) or compile_one(variant, gpu))
    Chooser(GPUS["gfx942"], search=False).choose(step)
    assert len(built) == 1
