"""What the elements of calibration data mean to a module's forward."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from deepseek.quantization.frontends.torch.arguments import Arguments, as_call, leaves_of, rebuilt

from deepseek_core.errors import CalibrationError

X, Y = np.zeros((2, 3), np.float32), np.ones(2, np.int64)


def one(x, mask=None):
    return x, mask


def two(x, y, scale=1.0):
    return x, y, scale


def any_number(*xs):
    return xs


def named(x, **more):
    return x, more


def elements(function, element, *, example=None):
    signature = inspect.signature(function)
    if example is None:
        args, kwargs = as_call(element, signature, 0)
    else:
        args, kwargs = example
    arguments = Arguments.of(signature, args, kwargs)
    return arguments.element(element, 3)


@pytest.mark.parametrize(
    ("function", "element", "names"),
    [
        (one, X, ["x"]),
        (one, (X, Y), ["x"]),
        (one, [X, Y], ["x"]),
        (one, {"x": X, "mask": Y}, ["x", "mask"]),
        (two, (X, X), ["x", "y"]),
        (two, (X, X, Y), ["x", "y"]),
        (any_number, (X, X, X), ["xs_0", "xs_1", "xs_2"]),
        (named, {"x": X, "more": {"a": Y}}, ["x", "more_more_a"]),
    ],
)
def test_parts_fill_the_required_parameters_and_the_rest_is_a_label(function, element, names) -> None:
    assert list(elements(function, element)) == names


def test_an_example_says_how_many_parts_are_arguments() -> None:
    example = ((X, Y), {})
    assert list(elements(one, (X, Y, Y), example=example)) == ["x", "mask"]
    assert list(elements(one, {"x": X, "mask": Y, "labels": Y}, example=example)) == ["x", "mask"]


@pytest.mark.parametrize(
    ("function", "element", "told"),
    [
        (two, X, r"calibration sample 3: forward\(x, y, scale=1.0\): missing a required argument: 'y'"),
        (one, "text", "calibration sample 3 is a str"),
        (one, (), "calibration sample 3 is a tuple"),
        (one, {"x": 3}, "calibration sample 3: argument 'x' is a int, not a tensor"),
        (one, {"y": X}, "calibration sample 3: forward"),
        (one, {"x": {"a": X}}, "calibration sample 3: argument 'x' is missing"),
    ],
)
def test_elements_that_are_no_call(function, element, told) -> None:
    arguments = Arguments.of(inspect.signature(function), (X,) * (2 if function is two else 1), {})
    with pytest.raises(CalibrationError, match=told):
        arguments.element(element, 3)


def test_leaves_are_put_back_where_they_were() -> None:
    tree = {"a": [1, (2, {"b": 3})], "c": {}, "d": None}
    leaves = leaves_of(tree)
    assert leaves == {"a_0": 1, "a_1_0": 2, "a_1_1_b": 3, "d": None}
    assert rebuilt(tree, {"a_1_1_b": 9}) == {"a": [1, (2, {"b": 9})], "c": {}, "d": None}
