"""A plan tells costs, times, reasons and remedies as they are."""

import pytest

from deepseek_core.errors import PlacementError
from deepseek_core.partition import Gates, Objective, OptimalSolver, PreferenceSolver
from deepseek_core.target import Target

NPU, CPU = Target("npu", "chip"), Target("cpu", "chip")


def unit(plan, name):
    return next(u for u in plan.units if u.name == name)


def test_units_parts_and_transfers(split_plan):
    plan = split_plan
    assert [(str(p.target), p.units) for p in plan.parts] == [
        ("cpu:chip", ("relu0",)),
        ("npu:chip", ("erf1", "neg2", "tanh3")),
        ("cpu:chip", ("add",)),
    ]
    assert [(t.tensor, t.bytes, t.source, t.to) for t in plan.transfers] == [
        ("relu0_out", 4000, 0, 1),
        ("tanh3_out", 4000, 1, 2),
    ]
    assert [t.cost.seconds for t in plan.transfers] == [pytest.approx(0.004)] * 2
    assert plan.latency == plan.value == pytest.approx(0.1 + 0.3 + 0.1 + 2 * 0.004)
    starts = [p.start for p in plan.parts]
    assert starts == pytest.approx([0.0, 0.104, 0.408])
    assert plan.basis == "analytic + measured"
    assert plan.gap == 0.0
    assert [(t.units, t.parts, t.work) for t in plan.targets] == [
        (3, 1, pytest.approx(0.3)),
        (2, 2, pytest.approx(0.2)),
    ]
    assert plan.targets[0].here.missing[0].fix == "plug it in"


def test_why_a_unit_is_where_it_is(split_plan):
    assert unit(split_plan, "add").why == "no other target runs it"
    assert unit(split_plan, "erf1").why == "on cpu:chip the unit takes 1.90 s more, the whole 1.90 s more"
    (option,) = unit(split_plan, "relu0").options
    assert (option.target, option.cost.seconds) == (NPU, 3.0)
    # relu's output would then go to cpu for the Add instead of to npu: one transfer as before
    assert option.delta == pytest.approx(3.0 - 0.1 - 0.004)


def test_refusals_have_the_reason_and_what_would_change_it(split_plan):
    (group,) = split_plan.refusals
    assert (group.target, group.units, group.elsewhere) == (NPU, ("add",), (CPU,))
    assert group.reason == "the npu has no Add"
    assert group.change == "take <another> op than Add"
    (option,) = unit(split_plan, "add").options
    assert (option.cost, option.reason) == (None, group.reason)


def test_refusals_that_differ_in_names_only_are_one_group(planned, net, device):
    npu = device("npu", {}, refused=("Relu",))
    plan = planned(net(("Relu", "Neg", "Relu", "Relu")), [npu, device("cpu", {})])
    assert [group.units for group in plan.refusals] == [("relu0", "relu2", "relu3")]


def test_alternatives_are_under_the_same_objective(split_plan):
    names = {a.name: a for a in split_plan.alternatives}
    assert names["this plan"].value == split_plan.value
    assert names["everything on npu:chip"].value is None
    assert "refuses 1 of 5" in names["everything on npu:chip"].note
    assert names["everything on cpu:chip"].value == pytest.approx(6.2)
    greedy = next(a for name, a in names.items() if name.startswith("by priority"))
    assert greedy.value == pytest.approx(3.0 + 0.3 + 0.1 + 0.004)
    assert all(a.value is None or a.value >= split_plan.bound * (1 - 1e-9) for a in split_plan.alternatives)


def test_another_solvers_placement_has_a_bound_too(planned, net, device):
    npu, cpu = device("npu", {}), device("cpu", {"Relu": 0.1, "Neg": 0.1})
    plan = planned(net(("Relu", "Neg"), skip=False), [npu, cpu], by=PreferenceSolver())
    assert plan.method == "priority"
    assert plan.value == pytest.approx(2.0)
    assert plan.bound == pytest.approx(0.2)
    assert plan.gap == pytest.approx(9.0)
    assert "the whole 1.80 s less" not in plan.units[0].why  # one unit alone gains less than both
    assert "less" in plan.units[0].why


def test_pins_groups_limits_and_ties(planned, net, device):
    npu = device("npu", {"Relu": 5.0}, groups=(("erf1", "neg2"),))
    cpu = device("cpu", {"Erf": 9.0, "Neg": 9.0})
    plan = planned(net(), [npu, cpu], pins={"relu0": NPU}, solver=OptimalSolver(max_parts=3))
    assert unit(plan, "relu0").why.startswith("pinned here; on cpu:chip the whole would take ")
    assert unit(plan, "erf1").why.startswith("claimed together with 'neg2'; ")
    same = planned(net(), [device("one", {}), device("two", {})])
    assert unit(same, "relu0").target == Target("one", "chip")
    limited = planned(net(), [device("a", {"Erf": 5.0}), device("b", {})], solver=OptimalSolver(max_parts=1))
    assert len(limited.parts) == 1
    options = [option for u in limited.units for option in u.options]
    assert any("parts, and 1 are allowed" in option.limit for option in options)


@pytest.mark.parametrize("objective", list(Objective))
def test_every_objective(planned, net, device, objective):
    targets = [device("npu", {"Erf": 0.1}), device("cpu", {"Relu": 0.1})]
    plan = planned(net(), targets, solver=OptimalSolver(objective))
    assert plan.objective == str(objective)
    assert plan.gap is not None
    deltas = [o.delta for u in plan.units for o in u.options if o.delta is not None]
    assert plan.gap > 0 or min(deltas) >= -1e-9


def test_one_target(planned, net, device):
    plan = planned(net(), [device("cpu", {})])
    assert (plan.bound, plan.gap, plan.method) == (None, None, "the only target")
    assert plan.units[0].why == "there is no other target"


def test_gates_are_told(planned, net, device):
    plan = planned(net(), [device("npu", {"Relu": 9.0}), device("cpu", {})], gates=Gates(min_coverage={NPU: 1.0}))
    assert "npu:chip runs" in plan.unmet[0]


def test_energy_that_is_not_known(planned, net, fake_energy):
    with pytest.raises(PlacementError, match="energy"):
        planned(net(), [fake_energy], solver=OptimalSolver(Objective.ENERGY))


@pytest.fixture
def fake_energy(device):
    backend, target = device("npu", {})
    backend.extend(_NoEnergy())
    return backend, target


class _NoEnergy:
    from deepseek_core.hookspecs import hookimpl

    @hookimpl(tryfirst=True)
    def deepseek_cost(self, units):
        from deepseek_core.cost import Basis, Cost

        return Cost.of(1.0, Basis.ANALYTIC)
