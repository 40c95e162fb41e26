"""torch modules become networks that are called as they were, and are left as they were."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from deepseek.quantization.execution import Runner
from deepseek.quantization.frontends.torch import ModuleSource
from torch import nn

from deepseek_core.errors import CalibrationError, ConfigError, FeedError, ModelError

_SPEC = importlib.util.spec_from_file_location("modules_under_test", Path(__file__).with_name("modules.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
modules = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = modules
_SPEC.loader.exec_module(modules)
LINES = Path(__file__).with_name("modules.py").read_text(encoding="utf-8").splitlines()


def opened(module, *args, free=None):
    source = ModuleSource(module, args, is_call=True)
    return source.network(source.example, free or {})


def call(network, *args, **kwargs):
    with Runner(network.model) as runner:
        return network.calls.call(runner, args, kwargs)


@pytest.fixture(scope="module")
def network(convnet):
    return opened(convnet, torch.zeros(1, 3, 16, 16))


def test_it_computes_what_the_module_computes(network, convnet) -> None:
    image = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    reference = copy.deepcopy(convnet).eval()
    with torch.no_grad():
        wanted = reference(image)
    got = call(network, image)
    torch.testing.assert_close(got["logits"], wanted["logits"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got["features"][0], wanted["features"][0], rtol=1e-4, atol=1e-4)
    assert got["features"][1] is None
    assert network.notes == ()


def test_arrays_in_give_arrays_out_in_the_same_nesting(network) -> None:
    image = np.ones((2, 3, 16, 16), np.float32)
    got = call(network, image=image)
    assert {type(got["logits"]), type(got["features"][0])} == {np.ndarray}
    assert isinstance(got["features"], tuple)
    torch.testing.assert_close(torch.from_numpy(got["logits"]), call(network, torch.from_numpy(image))["logits"])


def test_names_are_those_of_the_users_modules(network) -> None:
    model = network.model
    assert [info.name for info in model.inputs] == ["image"]
    assert [info.name for info in model.outputs] == ["logits", "features_0"]
    assert model.inputs[0].shape == ("batch", 3, 16, 16)
    names = {unit.name for unit in model.units()}
    assert {"blocks.0.conv/Conv", "blocks.1.conv/Conv", "head/Gemm"} <= names
    assert "head.weight" in model.graph.initializers


def test_nothing_of_this_machine_is_in_the_graph(network) -> None:
    assert not network.model.model.metadata_props
    for node in network.model.graph.all_nodes():
        assert not node.metadata_props
        assert not node.doc_string


def test_the_module_is_left_as_it_was(convnet) -> None:
    module = copy.deepcopy(convnet)
    module.blocks[0].eval()
    module.head.weight.requires_grad_(False)
    modes = [part.training for part in module.modules()]
    state = {name: value.clone() for name, value in module.state_dict().items()}
    opened(module, torch.zeros(1, 3, 16, 16))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in state.items())
    assert not module.head.weight.requires_grad
    assert module.blocks[0].conv.weight.requires_grad


def test_training_on_does_not_change_the_graph(convnet) -> None:
    module = copy.deepcopy(convnet)
    network = opened(module, torch.zeros(1, 3, 16, 16))
    image = np.ones((1, 3, 16, 16), np.float32)
    before = call(network, image)["logits"]
    with torch.no_grad():
        module.head.weight.add_(1.0)
    np.testing.assert_array_equal(call(network, image)["logits"], before)


def test_constants_of_the_example_are_constants_of_the_network(network) -> None:
    image = torch.zeros(1, 3, 16, 16)
    call(network, image, scale=1.0)
    with pytest.raises(FeedError, match=r"argument 'scale' is 2\.0; the network was exported for 1\.0"):
        call(network, image, scale=2.0)
    with pytest.raises(FeedError, match="missing a required argument: 'image'"):
        call(network)
    with pytest.raises(FeedError, match="argument 'image' is missing"):
        call(network, [1, 2])


class Several(nn.Module):
    """Nested inputs and outputs of many kinds."""

    def forward(self, first, state, *, mask=None):
        total = first + state["a"] * state["b"][0]
        if mask is not None:
            total = total * mask
        return OrderedDict(total=total, parts=[first, state["a"]], same=total, count=3)


def test_nested_arguments_and_outputs() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    source = ModuleSource(Several(), {"first": x, "state": {"a": x, "b": (x,)}, "mask": x}, is_call=True)
    network = source.network(source.example, {})
    assert [info.name for info in network.model.inputs] == ["first", "state_a", "state_b_0", "mask"]
    got = call(network, x, {"a": x, "b": (x,)}, mask=x)
    torch.testing.assert_close(got["total"], (x + x * x) * x)
    torch.testing.assert_close(got["same"], got["total"])
    torch.testing.assert_close(got["parts"][0], x)
    assert got["count"] == 3
    assert list(got) == ["total", "parts", "same", "count"]
    with pytest.raises(FeedError, match="argument 'mask' is a NoneType, not a tensor"):
        call(network, x, {"a": x, "b": (x,)})


def test_a_free_axis_beside_the_batch(transformer) -> None:
    ids = torch.zeros(2, 7, dtype=torch.int64)
    network = opened(transformer, ids, free={"ids": {1}})
    assert network.model.inputs[0].shape == ("batch", "ids_1")
    assert call(network, torch.ones(3, 11, dtype=torch.int64)).shape == (3, 16)


class FewKeys(nn.Module):
    """Attention from many places to fewer ones, twice: torch leaves sizes of its products open."""

    def forward(self, x):
        for heads in (1, 2):
            rows = x.reshape(x.shape[0], 16, heads, -1).transpose(1, 2)
            few = rows[:, :, ::4]
            x = nn.functional.scaled_dot_product_attention(rows, few, few).transpose(1, 2).flatten(2)
        return x


def test_sizes_that_nobody_knows_are_not_equal() -> None:
    module, x = FewKeys(), torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0))
    network = opened(module, x)
    torch.testing.assert_close(call(network, x), module(x))
    shapes = [value.shape for node in network.model.graph for value in node.outputs]
    assert "None" not in {dim.value for shape in shapes if shape for dim in shape if not isinstance(dim, int)}


class Flattening(nn.Module):
    """Whose batch cannot be free."""

    def forward(self, x):
        return x.reshape(4, 6) * 2


def test_a_batch_that_the_module_fixes_stays_fixed() -> None:
    network = opened(Flattening(), torch.zeros(2, 12))
    assert network.model.inputs[0].shape == (2, 12)
    assert "batches of 2 only" in network.notes[0]


class Ignoring(nn.Module):
    """With an argument that plays no part, and a batch that equals another size."""

    def forward(self, x, unused):
        return x.transpose(1, 2) * 2


def test_arguments_that_play_no_part_are_fed_all_the_same() -> None:
    x = torch.arange(12.0).reshape(2, 2, 3)
    network = opened(Ignoring(), x, torch.zeros(2, 3))
    assert [info.shape for info in network.model.inputs] == [("batch", 2, 3), ("batch", 3)]
    batch = torch.cat([x, x, x])
    torch.testing.assert_close(call(network, batch, torch.zeros(6, 3)), batch.transpose(1, 2) * 2)


def test_half_precision_is_computed_in_float32() -> None:
    module = nn.Linear(4, 3).to(torch.bfloat16)
    network = opened(module, torch.zeros(1, 4, dtype=torch.bfloat16))
    assert network.model.inputs[0].dtype == "float32"
    x = torch.ones(2, 4, dtype=torch.bfloat16)
    torch.testing.assert_close(call(network, x), module(x).float(), rtol=0.02, atol=0.02)
    assert module.weight.dtype == torch.bfloat16


class Counting(nn.Module):
    """With state that changes at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.ones(1))

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def test_state_is_noticed_and_put_back() -> None:
    module = Counting()
    network = opened(module, torch.ones(2, 3))
    assert "is it random, or has state?" in network.notes[0]
    assert module.calls.item() == 1.0


class Choosing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def _first(self, x):
        return self.one(x)

    def _second(self, x):
        return self.other(x)

    def forward(self, x):
        return torch.cond(x.sum() > 0, self._first, self._second, (x,))


def test_branches_on_data_written_with_torch_cond() -> None:
    module = Choosing()
    network = opened(module, torch.ones(2, 4))
    for x in (torch.ones(2, 4), -torch.ones(2, 4)):
        torch.testing.assert_close(call(network, x), module(x).detach(), rtol=1e-5, atol=1e-5)
    assert {"one", "other"} <= {name.split(".")[0] for name in network.model.graph.initializers}


@pytest.mark.parametrize(
    ("name", "mark", "told", "fix"),
    [
        ("Branch", "# branch", "the branch 'if x.sum() > 0:", "torch.cond"),
        ("Loop", "# loop", "the loop 'while x.abs().max() > 1:", "torch.while_loop"),
        ("Counted", "# counted", "the loop 'for _ in range(int(x.sum())):", "torch.while_loop"),
        ("Conditional", "# conditional", "the branch 'return x * 2 if x.mean() > 0 else x", "torch.cond"),
        ("Helper", "# helper", "the branch 'return x if bool((x > 0).all()) else -x", "torch.cond"),
        ("Numpy", "# numpy", "leaves torch for NumPy", "torch's functions"),
        ("Unknown", "# unknown", "no operator for prims.bessel_j0", "operators that ONNX has"),
        ("Mismatch", "# mismatch", "fails on the example input", "example_inputs="),
    ],
)
def test_what_cannot_be_exported_names_the_line_and_the_construct(name: str, mark: str, told: str, fix: str) -> None:
    line = next(number for number, text in enumerate(LINES, start=1) if text.endswith(mark))
    with pytest.raises(ModelError) as caught:
        opened(getattr(modules, name)(), torch.ones(2, 8))
    message = str(caught.value)
    assert f"modules.py:{line})" in message
    assert told in message
    assert fix in caught.value.fix
    assert "\n" not in message


class Nested(nn.Module):
    def forward(self, x):
        def turn(i, y):
            return i + 1, torch.cond(y.sum() > 0, torch.sin, torch.cos, (y,))

        return torch.while_loop(lambda i, _: i < 3, turn, (torch.tensor(0), x))[1]


def test_control_flow_inside_a_loop_says_what_torch_cannot() -> None:
    with pytest.raises(ModelError, match=r"no torch\.cond or while_loop inside the body of a while_loop"):
        opened(Nested(), torch.ones(2, 4))


def test_a_failed_export_leaves_stderr_and_logging_alone(capfd) -> None:
    import logging

    with pytest.raises(ModelError):
        opened(modules.Branch(), torch.ones(2, 8))
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == 0


def test_other_refusals() -> None:
    x = torch.ones(2, 8)
    with pytest.raises(ModelError, match="forward returns no tensor"):
        opened(modules.Objects(), x)
    with pytest.raises(ConfigError, match="cannot be called with the example input"):
        opened(modules.Branch(), x, x, x)
    with pytest.raises(ConfigError, match="holds no tensor"):
        opened(modules.Branch(), 3)
    with pytest.raises(CalibrationError, match="sample 0 is a int"):
        ModuleSource(modules.Branch(), 3, is_call=False)
    with pytest.warns(DeprecationWarning, match=r"torch\.jit\.script"):
        scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="is a ScriptModule"):
        ModuleSource(scripted, x, is_call=True)
