"""Costs: the backend's word is checked and named, and what was measured replaces it."""

import pytest

from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import BackendError, PlacementError
from deepseek_core.partition import OptimalSolver, Profile, place, propose
from deepseek_core.placement import Claim
from deepseek_core.selection import TuningCache


@pytest.fixture
def chain(builder):
    """relu → erf → neg over 4,000 bytes"""
    y = builder.op("Relu", builder.input("x", (1000,)), name="relu")
    y = builder.op("Erf", y, name="erf")
    return builder.model(builder.op("Neg", y, name="neg"))


@pytest.fixture
def profile(tmp_path):
    return Profile(TuningCache(tmp_path / "profile.json"))


def second_each(units):
    return Cost.of(float(len(units)), Basis.COMPILER_ESTIMATE, bytes=7, joules=2.0)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: Cost.of(-1.0, Basis.ANALYTIC), "cost of -1.0 s"),
        (lambda: Cost.of(float("nan"), Basis.ANALYTIC), "cost of nan s"),
        (lambda: Cost.of(float("inf"), Basis.ANALYTIC), "cost of inf s"),
        (lambda: Cost.of(None, Basis.ANALYTIC), "cost of None s"),
        (lambda: Cost.of(1.0, Basis.ANALYTIC, joules=float("nan")), "cost of nan J"),
        (lambda: 0.5, "a float instead of a Cost"),
    ],
)
def test_a_word_that_is_no_cost_names_backend_and_unit(chain, fake_backend, wrong, what):
    bad, cpu = fake_backend("bad", any_float=True, cost=lambda units: wrong()), fake_backend("cpu", any_float=True)
    with pytest.raises(BackendError, match=f"backend 'bad': deepseek_cost of 'relu' on bad:chip gave {what}") as caught:
        place(chain, [bad, cpu])
    assert "\n" not in str(caught.value)


def test_no_word_takes_the_roofline(chain, fake_backend):
    silent = fake_backend("silent", any_float=True, cost=lambda units: None, launch=0.5)
    assert place(chain, [silent]).cost.basis == "analytic"


def test_measured_units_replace_the_word(chain, fake_backend, profile):
    backend, target = fake_backend("npu", any_float=True, cost=second_each)
    units = {unit.name: unit for unit in chain.units()}
    device = profile.device(backend, target)
    device.record_alone(units["relu"], 0.25)
    device.record_launch(0.05)
    prices = propose(chain, [(backend, target)], profile=profile).offers[0].prices
    assert prices.launch == 0.05
    assert prices.within(units["relu"]).seconds == pytest.approx(0.2)
    assert prices.part([units["relu"]]).bases == {Basis.MEASURED: 0.25}
    mixed = prices.part([units["relu"], units["erf"]])
    assert mixed.bases == {Basis.MEASURED: pytest.approx(0.25), Basis.COMPILER_ESTIMATE: pytest.approx(1.0)}
    assert (mixed.bytes, mixed.joules) == (7, 2.0)
    assert place(chain, [(backend, target)], profile=profile).cost.basis == "compiler-estimate + measured"


def test_company_makes_units_quicker(chain, fake_backend, profile):
    backend, target = fake_backend("npu", any_float=True)
    units, device = tuple(chain.units()), profile.device(backend, target)
    for unit in units:
        device.record_alone(unit, 1.0)
    device.record_launch(0.4, company=0.5)
    problem = propose(chain, [(backend, target)], profile=profile)
    assert problem.part_cost(target, [0]).seconds == 1.0
    assert problem.part_cost(target, [0, 1, 2]).seconds == pytest.approx(0.4 + 3 * 0.6 * 0.5)
    device.record_part(units, 0.9)
    assert problem.part_cost(target, [0, 1, 2]).seconds == 0.9


def test_measured_figures_decide_and_last(chain, fake_backend, profile):
    one, other = fake_backend("one", any_float=True), fake_backend("other", any_float=True)
    assert {t.backend for t in place(chain, [one, other]).units.values()} == {"one"}
    for unit in chain.units():
        profile.device(*one).record_alone(unit, 1.0)
        profile.device(*other).record_alone(unit, 0.1)
    profile.save()
    again = Profile(TuningCache(profile._cache.path))
    placement = place(chain, [one, other], profile=again)
    assert {t.backend for t in placement.units.values()} == {"other"}
    assert placement.cost.basis == "analytic + measured"  # the launch was not measured
    assert place(chain, [one, other], profile=Profile.empty()).cost.basis == "analytic"


def test_measured_links(chain, fake_backend, profile):
    one, other = fake_backend("one", any_float=True), fake_backend("other", any_float=True, bandwidth=1e6)
    profile.record_link(one, other, 0.5, 1e-6)
    profile.record_link(other, one, 0.25, None)
    pins = {"relu": one[1], "erf": other[1], "neg": one[1]}
    problem = propose(chain, [one, other], pins, profile=profile)
    tables = [offer.capabilities for offer in problem.offers]
    there, back = problem.transfers.link(*tables), problem.transfers.link(*tables[::-1])
    assert there.cost(1000).bases == {Basis.MEASURED: pytest.approx(0.501)}
    assert back.cost(1000).bases == {Basis.MEASURED: 0.25, Basis.ANALYTIC: pytest.approx(1e-3)}


def test_a_claim_of_several_units_costs_what_it_costs_together(chain, fake_backend):
    def claim(model, target, refuse):
        for unit in model.units():
            if unit.name == "relu":
                refuse(unit, "not mine")
        return [Claim(target, ("erf", "neg"))]

    def fused(units):  # alone 4 s each, together 1 s
        return Cost.of(1.0 if len(units) == 2 else 4.0, Basis.ANALYTIC)

    npu = fake_backend("npu", claim=claim, cost=fused)
    cpu = fake_backend("cpu", any_float=True, cost=second_each)
    placement = place(chain, [cpu, npu])
    assert [t.backend for t in placement.units.values()] == ["cpu", "npu", "npu"]
    assert placement.optimality.value == pytest.approx(placement.cost.seconds)


def test_memory_of_the_table_is_a_limit(builder, fake_backend):
    import numpy as np

    w = builder.constant("w", np.zeros(1000, np.float32))
    model = builder.model(builder.op("Add", builder.input("x", (1000,)), w, name="add"))
    quick, cpu = fake_backend("quick", any_float=True, memory=1000), fake_backend("cpu", any_float=True, launch=1.0)
    assert {t.backend for t in place(model, [quick, cpu]).units.values()} == {"cpu"}
    with pytest.raises(PlacementError, match="within 1000 bytes of constants on quick:chip"):
        place(model, [quick, cpu], {"add": quick[1]})
    with pytest.raises(PlacementError, match="within 1000 bytes of constants on quick:chip"):
        place(model, [quick])
    roomy = fake_backend("roomy", any_float=True, memory=4000)
    assert place(model, [roomy]).parts
    with pytest.raises(PlacementError, match="within 10 bytes"):
        place(model, [roomy], solver=OptimalSolver(memory={roomy[1]: 10}))
