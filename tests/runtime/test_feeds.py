"""What `run` accepts, and the one line it answers with when it does not."""

import ml_dtypes
import numpy as np
import pytest

from deepseek_core.errors import FeedError
from deepseek_core.ir.model import TensorInfo
from deepseek_core.runtime.feeds import FeedCheck

STATIC = (TensorInfo("a", "float32", (1, 3)), TensorInfo("b", "int64", ()))
DYNAMIC = (TensorInfo("a", "float32", ("N", 3)), TensorInfo("b", "float32", ("N", None)))
A, B = np.zeros((1, 3), np.float32), np.array(5)


def rows(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("inputs", "feeds"),
    [
        (STATIC, {"a": A, "b": B}),
        (STATIC, {"b": B, "a": A}),
        (STATIC, {"a": np.full((1, 3), np.nan, np.float32), "b": B}),
        (STATIC, {"a": np.zeros((2, 3), np.float32)[:1], "b": B}),
        (STATIC, {"a": A.view(np.memmap), "b": B}),
        (DYNAMIC, {"a": np.zeros((4, 3), np.float32), "b": np.zeros((4, 9), np.float32)}),
        (DYNAMIC, {"a": np.zeros((0, 3), np.float32), "b": np.zeros((0, 1), np.float32)}),
        ((), {}),
        ((TensorInfo("a", "unknown", None),), {"a": B}),
        ((TensorInfo("a", "sequence of float32", (2,)),), {"a": [rows(2), rows(2)]}),
        ((TensorInfo("a", "optional of float32", (2,)),), {"a": None}),
        ((TensorInfo("a", "object", (1,)),), {"a": np.array(["text"], object)}),
        ((TensorInfo("a", "bfloat16", (2,)),), {"a": np.zeros(2, ml_dtypes.bfloat16)}),
        ((TensorInfo("a", "int4", (2,)),), {"a": np.zeros(2, ml_dtypes.int4)}),
        ((TensorInfo("a", "float8_e4m3fn", (2,)),), {"a": np.zeros(2, ml_dtypes.float8_e4m3fn)}),
    ],
)
def test_accepted(inputs, feeds):
    FeedCheck(inputs)(feeds)


@pytest.mark.parametrize(
    ("inputs", "feeds", "message"),
    [
        (STATIC, {}, "input 'a', 'b' is not fed (expected: a float32[1, 3], b int64[]); feed every input"),
        (STATIC, {"a": A}, "input 'b' is not fed"),
        (STATIC, {"a": A, "c": B}, "there is no input 'c' (expected: a float32[1, 3], b int64[]); leave it"),
        (STATIC, {"a": A, "b": B, "c": B}, "there is no input 'c'"),
        (STATIC, {"a": A, 3: B}, "there is no input '3'"),
        (STATIC, {"a": A.astype(np.float64), "b": B}, "input 'a' has dtype float64, not float32 (expected: "),
        (STATIC, {"a": A.astype(">f4"), "b": B}, "input 'a' has dtype >f4, not float32"),
        (STATIC, {"a": A, "b": B.astype(np.int32)}, "convert it with .astype('int64')"),
        (STATIC, {"a": A[0], "b": B}, "input 'a' has 1 dimensions [3], not 2"),
        (STATIC, {"a": np.zeros((1, 4), np.float32), "b": B}, "input 'a' has shape [1, 4] (expected: "),
        (STATIC, {"a": [[1.0, 2.0, 3.0]], "b": B}, "input 'a' is a list, not an array"),
        (STATIC, {"a": A, "b": np.int64(5)}, "input 'b' is a int64, not an array"),
        (STATIC, {"a": None, "b": B}, "input 'a' is a NoneType, not an array"),
        (DYNAMIC, {"a": rows(4, 3), "b": rows(5, 1)}, "dimension N is 4 in input 'a' and 5 in 'b' (expected: a fl"),
        (DYNAMIC, {"a": rows(4, 2), "b": rows(4, 1)}, "float32[N, 3], b float32[N, ?]); make axis 1 3 long"),
        ((), {"a": A}, "there is no input 'a' (expected: no inputs)"),
    ],
)  # fmt: skip
def test_refused(inputs, feeds, message):
    with pytest.raises(FeedError) as caught:
        FeedCheck(inputs)(feeds)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
