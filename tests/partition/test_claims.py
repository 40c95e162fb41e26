"""Claims are derived from the table, or asked for and checked."""

import pytest

from deepseek_core.errors import BackendError
from deepseek_core.partition import claims, derive_claims
from deepseek_core.placement import Claim, Refusal
from deepseek_core.scheme import DType
from deepseek_core.target import OpRule, Target

F32 = DType.FLOAT32
TARGET = Target("fake", "chip")


@pytest.fixture
def chain(builder):
    """relu → erf → neg"""
    x = builder.input("x", (2,))
    y = builder.op("Relu", x, name="relu")
    y = builder.op("Erf", y, name="erf")
    return builder.model(builder.op("Neg", y, name="neg"))


def test_derived(chain, fake_backend):
    backend, target = fake_backend(rules=[OpRule("Relu", F32, F32), OpRule("Neg", F32, F32)])
    found = claims(chain, backend, target)
    assert found == derive_claims(chain, target, backend.capabilities(target))
    assert found == (
        [Claim(target, ("relu",)), Claim(target, ("neg",))],
        [
            Refusal(
                target,
                "erf",
                "no rule for Erf; the target knows Neg, Relu",
                "express Erf with ops that the target knows, or let another target run it",
            )
        ],
    )


def test_hook_that_gives_none_is_derived(chain, fake_backend):
    backend, target = fake_backend(claim=lambda: None, any_float=True)
    claimed, refused = claims(chain, backend, target)
    assert [c.units for c in claimed] == [("relu",), ("erf",), ("neg",)]
    assert not refused


def test_hook(chain, fake_backend):
    def claim(model, target, refuse):
        refuse(model.units()[2], "too negative")
        return [Claim(target, ("relu", "erf"))]

    assert claims(chain, *fake_backend(claim=claim)) == (
        [Claim(TARGET, ("relu", "erf"))],
        [Refusal(TARGET, "neg", "too negative")],
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (([("relu",), ("erf",)], {}), "neither claims nor refuses 'neg'"),
        (([("relu",)], {"erf": "no", "neg": ""}), "refuses 'neg' without a reason"),
        (([("relu",)], {"erf": "no", "neg": " "}), "refuses 'neg' without a reason"),
        (([("relu",), ("erf",), ("neg",)], {"neg": "no"}), "both claims and refuses 'neg'"),
        (([("relu", "neg")], {"erf": "no"}), "claims 'relu', 'neg' together, but what lies between"),
        (([("relu",), ("erf", "relu")], {"neg": "no"}), "claims 'relu' twice"),
        (([("conv",)], {}), "claims 'conv', which is not a unit of the main graph"),
        (([()], {}), "is not a claim on any unit"),
        (([("relu",)], {"erf": "no", "other": "no", "neg": "no"}), "refuses 'other', which is not a unit of the model"),
    ],
)
def test_broken_contract_is_named(chain, fake_backend, new_builder, answer, message):
    claimed, refused = answer
    other = new_builder()
    (stranger,) = other.model(other.op("Abs", other.input("x", (1,)), name="other")).units()

    def claim(model, target, refuse):
        units = {unit.name: unit for unit in model.units()} | {"other": stranger}
        for name, reason in refused.items():
            refuse(units[name], reason)
        return [Claim(target, names) for names in claimed]

    with pytest.raises(BackendError, match="backend 'fake': deepseek_claim") as caught:
        claims(chain, *fake_backend(claim=claim))
    assert message in str(caught.value)


def test_claim_for_another_target(chain, fake_backend):
    other = Target("fake", "other")
    backend, target = fake_backend(claim=lambda: [Claim(other, ("relu",))])
    with pytest.raises(BackendError, match="claims 'relu' for fake:other when asked about fake:chip"):
        claims(chain, backend, target)
