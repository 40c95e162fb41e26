"""Slices, joined tensors and reductions that Vela fuses wrongly: with copies between them, Arm's model's results."""

from collections.abc import Callable

import numpy as np
import pytest

from deepseek_backend_npu import compiler
from deepseek_backend_npu.compiler import build
from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.lowering import Border, Lowered, lower
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.fusion import kept_apart
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.tosa import DType, Graph, Op, Tensor
from deepseek_backend_npu.verification.checking import run_both
from deepseek_backend_npu.versions import reference_version
from deepseek_core import CompileOptions, TensorInfo
from deepseek_core.errors import BackendError

U55, U65, U85 = "ethos-u55-128", "ethos-u65-256", "ethos-u85-512"
SHAPE = (1, 8, 4, 6)
needs_model = pytest.mark.skipif(reference_version() is None, reason="Arm's TOSA model is not installed")


def _input(emitter: Emitter, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return emitter.graph.input(shape, DType.INT8)


def _sliced(emitter: Emitter) -> Tensor:
    return emitter.slice(_input(emitter), (0, 3, 0, 0), (1, 5, 4, 6))


def _sum(emitter: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """With a factor that is no power of two, which elementwise operators cannot have."""
    wide = [emitter.rescale(side, DType.INT32, [2.0**19], 7, 0) for side in (a, b)]
    total = emitter.graph.add(Op.ADD, wide, a.shape, DType.INT32)
    return emitter.rescale(total, DType.INT8, [0.37 * 2.0**-19], 0, 7)


def _reduced(emitter: Emitter, x: Tensor, op: Op) -> Tensor:
    return emitter.graph.add(op, [x], (*x.shape[:-1], 1), x.dtype, axis=3)


def _sum_of_a_slice(emitter: Emitter) -> Tensor:
    part = _sliced(emitter)
    return _sum(emitter, part, _input(emitter, part.shape))


def _sum_of_a_part_of_a_row(emitter: Emitter) -> Tensor:
    part = emitter.slice(emitter.reshape(_input(emitter), (1, 192)), (0, 163), (1, 29))
    return _sum(emitter, part, _input(emitter, part.shape))


def _mean_of_a_slice(emitter: Emitter) -> Tensor:
    total = _reduced(emitter, emitter.widen(_sliced(emitter), 7), Op.REDUCE_SUM)
    return emitter.rescale(total, DType.INT8, [1 / 6], 0, 7)


def _maximum_of_a_slice(emitter: Emitter) -> Tensor:
    return _reduced(emitter, _sliced(emitter), Op.REDUCE_MAX)


def _sum_of_joined(emitter: Emitter) -> Tensor:
    joined = emitter.concat([_input(emitter), _input(emitter)], 2)
    return _sum(emitter, joined, _input(emitter, joined.shape))


def _sum_of_padded(emitter: Emitter) -> Tensor:
    padded = emitter.pad(_input(emitter), [(0, 0), (1, 2), (0, 0), (0, 0)], 7)
    return _sum(emitter, padded, _input(emitter, padded.shape))


def _joined_sum(emitter: Emitter) -> Tensor:
    return emitter.concat([_input(emitter), _sum(emitter, _input(emitter), _input(emitter))], 3)


def _padded_sum(emitter: Emitter) -> Tensor:
    return emitter.pad(_sum(emitter, _input(emitter), _input(emitter)), [(0, 0), (1, 2), (0, 0), (0, 0)], 7)


def _product(emitter: Emitter, a: Tensor, b: Tensor) -> Tensor:
    sides = [emitter.widen(side, 7) for side in (a, b)]
    shift = emitter.graph.constant(np.array([0]), DType.INT8)
    return emitter.rescale(emitter.graph.add(Op.MUL, [*sides, shift], a.shape, DType.INT32), DType.INT8, [0.01], 0, 7)


def _product_of_slices_of_a_sum(emitter: Emitter) -> Tensor:
    total = _sum(emitter, _input(emitter), _input(emitter))
    return _product(emitter, *(emitter.slice(total, (0, start, 0, 0), (1, 4, 4, 6)) for start in (0, 4)))


def _product_of_a_reshaped_sum(emitter: Emitter) -> Tensor:
    shape = (1, 42, 1, 4)
    total = emitter.reshape(_sum(emitter, _input(emitter, shape), _input(emitter, shape)), (1, 7, 6, 4))
    return _product(emitter, total, total)


def _matrix_product_of_a_slice(emitter: Emitter) -> Tensor:
    part = emitter.slice(_input(emitter, (1, 7, 6)), (0, 2, 0), (1, 4, 6))
    zeros = [emitter.graph.constant(np.array([3]), DType.INT8)] * 2
    total = emitter.graph.add(Op.MATMUL, [part, _input(emitter, (1, 6, 5)), *zeros], (1, 4, 5), DType.INT32)
    return emitter.rescale(total, DType.INT8, [0.01], 0, 7)


def _joined_maximum(emitter: Emitter) -> Tensor:
    return emitter.concat([_input(emitter, (1, 8, 4, 1)), _reduced(emitter, _input(emitter), Op.REDUCE_MAX)], 2)


def _padded_rescaled_joined(emitter: Emitter) -> Tensor:
    joined = emitter.concat([_input(emitter), _sliced(emitter)], 1)
    return emitter.pad(emitter.rescale(joined, DType.INT8, [0.37], 7, 3), [(0, 0), (0, 0), (1, 0), (1, 1)], 3)


EVERYWHERE = [_mean_of_a_slice, _maximum_of_a_slice, _joined_maximum, _padded_rescaled_joined]
MULTIPLIED = [_sum_of_a_slice, _sum_of_a_part_of_a_row, _sum_of_joined, _sum_of_padded, _joined_sum, _padded_sum]
SHARED = [_matrix_product_of_a_slice, _product_of_slices_of_a_sum, _product_of_a_reshaped_sum]
WRONG = [*((write, U55) for write in (*MULTIPLIED, *SHARED, *EVERYWHERE[1:])), *((write, U85) for write in EVERYWHERE)]


def _compiled(write: Callable[[Emitter], Tensor], device: str) -> Container:
    emitter = Emitter(Lowered(Graph(), (), ()))
    emitter.graph.outputs.append(write(emitter))
    lowered, graph = emitter.lowered, emitter.graph
    for borders, tensors in ((lowered.feeds, graph.inputs), (lowered.results, graph.outputs)):
        borders += [Border(x.name, x.dtype, x.shape, tuple(range(len(x.shape)))) for x in tensors]
    lowered.outputs = tuple(TensorInfo(x.name, "int8", x.shape) for x in graph.outputs)
    variant = DEVICES[device]
    return build(lowered, device, variant, Settings.read({}, variant), CompileOptions(optimize=0))[0]


def _differences(container: Container) -> int:
    """Elements in which the emulator differs from Arm's model."""
    rng = np.random.default_rng(0)
    feeds = {border.name: rng.integers(-128, 128, border.shape).astype(np.int8) for border in container.feeds}
    emulated, expected = run_both(container, feeds)
    return sum(int(np.count_nonzero(emulated[name] != array)) for name, array in expected.items())


def _is_wrong(container: Container) -> bool:
    try:
        return _differences(container) > 0
    except BackendError as error:
        return error.message.startswith("hazard")


@needs_model
@pytest.mark.parametrize("device", [U55, U65, U85])
@pytest.mark.parametrize("write", [*MULTIPLIED, *SHARED, *EVERYWHERE])
def test_what_is_kept_apart_has_the_results_of_arms_model(write, device) -> None:
    assert _differences(_compiled(write, device)) == 0


@needs_model
@pytest.mark.parametrize(("write", "device"), WRONG)
def test_every_copy_is_needed(write, device, monkeypatch) -> None:
    monkeypatch.setattr(compiler, "kept_apart", lambda graph, device: graph)
    assert _is_wrong(_compiled(write, device))


@pytest.mark.parametrize("device", [U55, U85])
def test_a_graph_that_is_fused_rightly_stays_as_it_is(device, network) -> None:
    graph = lower(network).graph
    assert kept_apart(graph, DEVICES[device]) is graph


def test_a_reader_of_a_slice_reads_the_same_copy_as_the_others() -> None:
    emitter = Emitter(Lowered(Graph(), (), ()))
    part = _sliced(emitter)
    emitter.graph.outputs.append(_sum(emitter, part, part))
    copies = [o for o in kept_apart(emitter.graph, DEVICES[U55]).operators if o.op is Op.MAX_POOL2D]
    assert [o.inputs for o in copies] == [(part,)]
    assert kept_apart(emitter.graph, DEVICES[U85]) is emitter.graph
