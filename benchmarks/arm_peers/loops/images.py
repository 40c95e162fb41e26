"""Calls of what networks of images are made of; tensors are [n, height, width, channel]."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from arm_peers.loops.call import call, count, shape

__all__ = ["CALLS"]


def _conv(node: ir.Node, x: list[str], y: str) -> str:
    (n, c, h, w), (o, _, kh, kw), (_, _, oh, ow) = (shape(v) for v in (*node.inputs[:2], node.outputs[0]))
    strides, dilations = (node.attributes.get_ints(name, (1, 1)) for name in ("strides", "dilations"))
    top, left, *_ = node.attributes.get_ints("pads", (0, 0, 0, 0))
    groups = node.attributes.get_int("group", 1)
    bias = x[2] if len(x) > 2 else "NULL"
    return call("conv", x[0], x[1], bias, y, n, c, h, w, o, oh, ow, kh, kw, *strides, *dilations, top, left, groups)


def _gemm(node: ir.Node, x: list[str], y: str) -> str:
    (m, k), (_, n) = shape(node.inputs[0]), shape(node.outputs[0])
    steps = (1, k) if node.attributes.get_int("transB", 0) else (n, 1)
    return call("matmul", x[0], x[1], x[2] if len(x) > 2 else "NULL", y, 1, m, k, n, 0, *steps)


def _maxpool(node: ir.Node, x: list[str], y: str) -> str:
    (n, c, h, w), (_, _, oh, ow) = shape(node.inputs[0]), shape(node.outputs[0])
    kernel, strides = (node.attributes.get_ints(name, (1, 1)) for name in ("kernel_shape", "strides"))
    top, left, *_ = node.attributes.get_ints("pads", (0, 0, 0, 0))
    return call("maxpool", x[0], y, n, c, h, w, oh, ow, *kernel, *strides, top, left)


def _mean(node: ir.Node, x: list[str], y: str) -> str:
    n, c, *positions = shape(node.inputs[0])
    return call("mean", x[0], y, n, c, prod(positions))


def _relu(node: ir.Node, x: list[str], y: str) -> str:
    return call("clip", x[0], y, count(node.outputs[0]), "0.0f", "FLT_MAX")


def _clip(node: ir.Node, x: list[str], y: str) -> str:
    return call("clip", x[0], y, count(node.outputs[0]), f"*{x[1]}", f"*{x[2]}")


def _add(node: ir.Node, x: list[str], y: str) -> str:
    if shape(node.inputs[0]) != shape(node.inputs[1]):
        raise RuntimeError("plain loops have no Add that repeats one side")
    return call("add", x[0], x[1], y, count(node.outputs[0]))


def _mul(node: ir.Node, x: list[str], y: str) -> str:
    full, factors = (shape(value) for value in node.inputs)
    n, c, *positions = full
    if factors != (n, c, *(1 for _ in positions)):
        raise RuntimeError("plain loops have Mul by a number for each channel only")
    return call("scale", x[0], x[1], y, n, prod(positions), c)


def _hard_sigmoid(node: ir.Node, x: list[str], y: str) -> str:
    alpha, beta = (node.attributes.get_float(name, default) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    return call("hard_sigmoid", x[0], y, count(node.outputs[0]), f"{alpha:e}f", f"{beta:e}f")


def _hard_swish(node: ir.Node, x: list[str], y: str) -> str:
    return call("hard_swish", x[0], y, count(node.outputs[0]))


CALLS = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _maxpool,
    "ReduceMean": _mean,
    "GlobalAveragePool": _mean,
    "Relu": _relu,
    "Clip": _clip,
    "Add": _add,
    "Mul": _mul,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
}
