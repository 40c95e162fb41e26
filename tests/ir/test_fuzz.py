"""Damaged files: each of many seeded mutations loads as a model that verifies, or is refused in one line."""

from __future__ import annotations

import random
import resource
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from deepseek_core.errors import DeepseekError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.ir.verify import verify

BYTES, MESSAGES = 10_000, 700
MEMORY = 512 << 20
F = np.float32

LENGTHS = (b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80\x80\x80\x80\x08", b"\x7f", b"\x00")
"""Varints: 2³²−1, 2⁶⁴−1, 2³¹, 127, 0: put where a length stands, they claim more than there is."""

OPERATORS = ("Loop", "If", "Scan", "QLinearConv", "Reshape", "Constant", "Einsum", "Concat", "Resize", "Conv", "MatMul")
INTEGERS = (0, 1, -1, 2, 7, 13, 21, 100, 2**31 - 1, 2**31, -(2**31), 1 << 40, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e38, float("nan"), float("inf"), 1e-42)


@pytest.fixture(scope="module")
def seeds(build, body, goldens) -> list[bytes]:
    """Small sound files that hold every kind of thing a file can hold."""
    pair = {"s": F(0.1), "z": np.int8(0)}
    then = body([("Mul", ["x", "d"], ["t"])], {}, ["t"])
    other = body([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["e"])], {}, ["e"])
    loop = body(
        [("Add", ["v", "v"], ["n"]), ("Identity", ["go"], ["on"])],
        {"i": ("int64", []), "go": ("bool", []), "v": ("float", [2])},
        ["on", "n"],
    )
    twice = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 21)]
    )
    x = {"x": ("float", [2, 2])}
    branches = {"then_branch": then, "else_branch": other}
    models = [
        build(
            [
                ("QuantizeLinear", ["w", "c", "k"], ["wq"], {"axis": 0}),
                ("DequantizeLinear", ["wq", "c", "k"], ["wd"], {"axis": 0}),
                ("QuantizeLinear", ["x", "s", "z"], ["q"]),
                ("DequantizeLinear", ["q", "s", "z"], ["d"]),
                ("MatMul", ["d", "wd"], ["y"]),
            ],
            x,
            ["y"],
            {**pair, "w": np.eye(2, dtype=F), "c": np.array([0.1, 0.2], F), "k": np.zeros(2, np.int8)},
            opset=13,
        ),
        build(
            [("QLinearMatMul", ["q", "s", "z", "w", "s", "z", "s", "z"], ["y"])],
            {"q": ("int8", [2, 2])},
            ["y"],
            {**pair, "w": np.eye(2, dtype=np.int8)},
        ),
        build(
            [
                ("DequantizeLinear", ["w", "s", "z"], ["d"]),
                helper.make_node("If", ["c"], ["y"], "if", **branches),
            ],
            {**x, "c": ("bool", [])},
            ["y"],
            {**pair, "w": np.eye(2, dtype=np.int8)},
        ),
        build(
            [helper.make_node("Loop", ["n", "", "x"], ["y"], "loop", body=loop)],
            {"x": ("float", [2])},
            ["y"],
            {"n": np.int64(2)},
        ),
        build([("local::Twice", ["x"], ["y"])], x, ["y"], domains={"local": 1}, functions=[twice]),
        build([("Squeeze", ["x"], ["y"], {"axes": [0]})], {"x": ("float", [1, 2])}, ["y"], opset=11),
        build(
            [
                ("com.microsoft::QuantizeLinear", ["x", "s", "z"], ["q"]),
                ("com.microsoft::QLinearAdd", ["q", "s", "z", "w", "s", "z", "s", "z"], ["a"]),
                ("com.microsoft::DequantizeLinear", ["a", "s", "z"], ["d"]),
                ("com.microsoft::MatMulNBits", ["d", "p", "r"], ["y"], {"K": 2, "N": 1, "bits": 4, "block_size": 16}),
            ],
            x,
            ["y"],
            {**pair, "w": np.eye(2, dtype=np.int8), "p": np.zeros((1, 1, 8), np.uint8), "r": np.ones(1, F)},
            domains={"com.microsoft": 1},
        ),
    ]
    return [*(model.SerializeToString() for model in models), goldens["modelopt_int4_projection"].read_bytes()]


def damaged(rng: random.Random, data: bytes, seeds: list[bytes]) -> bytes:
    """One to four flips, cuts, inserts, splices or lengths at random places."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, kind = rng.randrange(len(result) + 1), rng.randrange(6)
        if kind == 0 and place < len(result):
            result[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del result[place:]
        elif kind == 2:
            result[place:place] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            other = rng.choice(seeds)
            start, size = rng.randrange(len(other)), rng.randrange(1, 64)
            result[place : place + size] = other[start : start + size]
        elif kind == 4:
            result[place : place + 1] = rng.choice(LENGTHS)
        else:
            del result[place : place + rng.randrange(1, 9)]
    return bytes(result)


def rewritten(rng: random.Random, data: bytes, seeds: list[bytes]) -> bytes:
    """The file with one to three fields of its messages dropped, repeated, swapped or given another value."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        messages = list(walk(model))
        message = rng.choice(messages)
        if fields := message.ListFields():
            names = [name for node in messages if isinstance(node, onnx.NodeProto) for name in node.input]
            rewrite(rng, message, *rng.choice(fields), names)
    return model.SerializeToString()


def walk(message):
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from walk(inner)


def rewrite(rng, message, field, value, names):
    if field.type == field.TYPE_MESSAGE and field.is_repeated:
        index = rng.randrange(len(value))
        if rng.random() < 0.5:
            del value[index]
        else:
            value.add().CopyFrom(value[index])
    elif field.type == field.TYPE_MESSAGE:
        message.ClearField(field.name)
    elif field.is_repeated:
        index = rng.randrange(len(value))
        value[index] = other_value(rng, field, value[index], names)
    else:
        setattr(message, field.name, other_value(rng, field, value, names))


def other_value(rng, field, old, names):
    if field.type == field.TYPE_STRING:
        return rng.choice([*names, rng.choice(OPERATORS), f"{old}x", "", "com.microsoft"])
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(len(old)) if rng.random() < 0.7 else old[:-1]
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == field.TYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    low, high = {
        field.TYPE_INT32: (-(2**31), 2**31 - 1),
        field.TYPE_UINT64: (0, 2**64 - 1),
    }.get(field.type, (-(2**63), 2**63 - 1))
    return rng.choice([v for v in (*INTEGERS, old + 1, old - 1) if low <= v <= high])


def outcome(data: bytes) -> str:
    try:
        model = load_model(data)
    except DeepseekError as error:
        text = str(error)
    else:
        verify(model)
        names = [unit.name for unit in model.all_units()]
        assert len(set(names)) == len(names)
        assert to_bytes(model)
        assert len(model.inputs) + len(model.outputs) >= 1
        return "loaded"
    assert "\n" not in text
    assert 0 < len(text) < 4000
    return "refused"


@pytest.mark.parametrize(("mutate", "count"), [(damaged, BYTES), (rewritten, MESSAGES)], ids=["bytes", "messages"])
def test_mutated_files(mutate: Callable[..., bytes], count: int, seeds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen: Counter[str] = Counter()
    for number in range(count):
        data = mutate(random.Random(number), seeds[number % len(seeds)], seeds)
        try:
            seen[outcome(data)] += 1
        except Exception as error:
            pytest.fail(f"mutation {number}: {error!r}")
    assert seen["loaded"] > count / 100, "mutations that all fail to parse test nothing behind the parser"
    assert seen["refused"] > count / 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY >> 10, "kilobytes"
