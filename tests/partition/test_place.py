"""Placement by preference: pins, groups that stay together, few parts, and errors that say everything."""

import sys
from functools import partial

import pytest

from deepseek_core import partition
from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import PlacementError
from deepseek_core.partition import PreferenceSolver, Solution
from deepseek_core.placement import Claim
from deepseek_core.scheme import DType
from deepseek_core.target import OpRule, Target

F32 = DType.FLOAT32

place = partial(partition.place, solver=PreferenceSolver())


def rules(*ops):
    return [OpRule(op, F32, F32) for op in ops]


@pytest.fixture
def chain(builder):
    """relu → erf → neg"""
    x = builder.input("x", (1000,))
    y = builder.op("Relu", x, name="relu")
    y = builder.op("Erf", y, name="erf")
    return builder.model(builder.op("Neg", y, name="neg"))


def grouped(*groups):
    """A claim hook that claims these groups and refuses the rest."""

    def claim(model, target, refuse):
        inside = {name for group in groups for name in group}
        for unit in model.units():
            if unit.name not in inside:
                refuse(unit, "not mine")
        return [Claim(target, group) for group in groups]

    return claim


def test_one_target_is_one_part(chain, fake_backend):
    placement = place(chain, [fake_backend(any_float=True)])
    assert placement.parts == (("relu", "erf", "neg"),)
    assert set(placement.units.values()) == {Target("fake", "chip")}
    assert placement.gap is None


def test_order_is_preference(chain, fake_backend):
    npu, cpu = fake_backend("npu", rules("Relu", "Neg")), fake_backend("cpu", any_float=True)
    placement = place(chain, [npu, cpu])
    assert {name: t.backend for name, t in placement.units.items()} == {"relu": "npu", "erf": "cpu", "neg": "npu"}
    assert placement.parts == (("relu",), ("erf",), ("neg",))
    assert [(r.unit, r.reason) for r in placement.refusals] == [("erf", "no rule for Erf; the target knows Neg, Relu")]
    assert {t.backend for t in place(chain, [cpu, npu]).units.values()} == {"cpu"}


def test_cost_sums_parts_and_transfers(chain, fake_backend):
    npu = fake_backend("npu", rules("Relu", "Neg"), cost=lambda units: Cost.of(len(units), Basis.MEASURED))
    cpu = fake_backend("cpu", any_float=True, launch=7.0, bandwidth=1000.0)
    cost = place(chain, [npu, cpu]).cost
    transfers = 2 * 4000 / 1000
    assert cost.bases == {Basis.MEASURED: 2.0, Basis.ANALYTIC: pytest.approx(7 + 8000 / 1000 + transfers)}
    assert cost.basis == "analytic + measured"


def test_independent_branches_join(builder, fake_backend):
    """a(npu) and c(npu) can share a part although b(cpu), which c needs, is ready only after them in file order."""
    x = builder.input("x", (2,))
    a = builder.op("Relu", x, name="a")
    b = builder.op("Erf", x, name="b")
    c = builder.op("Add", a, b, name="c")
    placement = place(
        builder.model(c), [fake_backend("npu", rules("Relu", "Add")), fake_backend("cpu", any_float=True)]
    )
    assert placement.parts == (("b",), ("a", "c"))


def test_joining_never_makes_a_cycle(builder, fake_backend):
    """a → b(cpu) → c and a → c: joining a with c would need b's result before b can run."""
    x = builder.input("x", (2,))
    a = builder.op("Relu", x, name="a")
    c = builder.op("Add", a, builder.op("Erf", a, name="b"), name="c")
    placement = place(
        builder.model(c), [fake_backend("npu", rules("Relu", "Add")), fake_backend("cpu", any_float=True)]
    )
    assert placement.parts == (("a",), ("b",), ("c",))


def test_group_stays_together(chain, fake_backend):
    npu, cpu = fake_backend("npu", claim=grouped(("erf", "neg"))), fake_backend("cpu", any_float=True)
    assert place(chain, [npu, cpu]).parts == (("relu",), ("erf", "neg"))
    # The first target takes half of the group, so the second cannot have the group at all.
    first = fake_backend("first", rules("Neg"))
    placement = place(chain, [first, npu, cpu])
    assert {n: t.backend for n, t in placement.units.items()} == {"relu": "cpu", "erf": "cpu", "neg": "first"}


def test_groups_in_a_circle_are_not_both_taken(builder, fake_backend):
    """{a, d} and {b, c} are convex each, but a → c and b → d: as two parts each would wait for the other."""
    x = builder.input("x", (2,))
    a, b = builder.op("Relu", x, name="a"), builder.op("Relu", x, name="b")
    c, d = builder.op("Neg", a, name="c"), builder.op("Neg", b, name="d")
    model = builder.model(c, d)
    npu, cpu = fake_backend("npu", claim=grouped(("a", "d"), ("b", "c"))), fake_backend("cpu", any_float=True)
    placement = place(model, [npu, cpu])
    assert {n: t.backend for n, t in placement.units.items()} == {"a": "npu", "d": "npu", "b": "cpu", "c": "cpu"}
    with pytest.raises(PlacementError, match=r"'b' .*npu:chip: runs it only together with 'c', which cannot be joined"):
        place(model, [npu])


def test_pins(chain, fake_backend):
    npu, cpu = fake_backend("npu", any_float=True), fake_backend("cpu", any_float=True)
    placement = place(chain, [npu, cpu], pins={"erf": cpu[1]})
    assert [t.backend for t in placement.units.values()] == ["npu", "cpu", "npu"]


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"conv": Target("cpu", "chip")}, "pin on 'conv', which is not a unit"),
        ({"erf": Target("gpu", "chip")}, "'erf' is pinned to gpu:chip, which is not among the targets"),
        ({"erf": Target("npu", "chip")}, "'erf' is pinned to npu:chip, which refuses it: no rule for Erf"),
    ],
)
def test_impossible_pins(chain, fake_backend, pins, message):
    with pytest.raises(PlacementError, match=message):
        place(chain, [fake_backend("npu", rules("Relu")), fake_backend("cpu", any_float=True)], pins=pins)


def test_pins_that_tear_a_group(chain, fake_backend):
    npu, cpu = fake_backend("npu", claim=grouped(("erf", "neg"), ("relu",))), fake_backend("cpu", any_float=True)
    with pytest.raises(PlacementError, match="'neg' is pinned to npu:chip, which runs it only together with 'erf'"):
        place(chain, [npu, cpu], pins={"erf": cpu[1], "neg": npu[1]})


def test_a_long_list_of_refusals_is_counted(chain, fake_backend, monkeypatch):
    monkeypatch.setattr(sys.modules["deepseek_core.partition.place"], "_NAMED", 1)  # the package exports the function
    with pytest.raises(PlacementError, match=r"3 of 3 units .*\]; and 2 more reasons like these") as caught:
        place(chain, [fake_backend("npu", rules("Softmax"))])
    assert caught.value.message.count("no rule for") == 1


def test_unsupported_units_are_listed_with_every_refusal(chain, fake_backend):
    targets = [fake_backend("npu", rules("Relu")), fake_backend("dsp", rules("Neg"))]
    with pytest.raises(PlacementError) as caught:
        place(chain, targets)
    assert caught.value.message == (
        "1 of 3 units run on no chosen target: 'erf' (Erf) [npu:chip: no rule for Erf; the target knows Relu | "
        "dsp:chip: no rule for Erf; the target knows Neg]"
    )
    assert "\n" not in str(caught.value)
    with pytest.raises(PlacementError, match="3 of 3 units"):
        place(chain, [fake_backend("npu", rules("Conv"))])


def test_no_target(chain):
    with pytest.raises(PlacementError, match="no target was chosen"):
        place(chain, [])


def test_model_without_units(builder, fake_backend):
    x = builder.input("x", (2,))
    assert place(builder.model(x), [fake_backend(any_float=True)]).parts == ()


def test_another_solver(chain, fake_backend):
    class Last:
        def solve(self, problem):
            return Solution(problem.offers[-1].claims, gap=0.25)

    placement = place(chain, [fake_backend("a", any_float=True), fake_backend("b", any_float=True)], solver=Last())
    assert {t.backend for t in placement.units.values()} == {"b"}
    assert placement.gap == 0.25
