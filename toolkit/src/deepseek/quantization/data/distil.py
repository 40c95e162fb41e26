"""Samples distilled from BatchNorm statistics: inputs under which every layer sees what it saw in training.

ZeroQ (Cai et al., CVPR 2020) and DeepInversion (Yin et al., CVPR 2020): starting from noise, gradient descent on the
input moves the mean and the deviation of what each BatchNorm normalises towards its running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from deepseek.quantization.frontends.arrays import as_array, as_tensor
from deepseek.quantization.frontends.network import Tensors
from deepseek_core.options import Progress

__all__ = ["batch_norms", "distilled"]

BATCH = 8
"""Rows that are distilled together: their statistics are compared with the running ones."""
_STEPS = 50
_RATE = 0.1
_SMOOTH = 1e-3
"""Weight of total variation; it keeps images from being noise of the highest frequency."""
_PATIENCE, _GAIN = 15, 0.01
"""Stop when so many steps improve the loss by less than this share."""


def batch_norms(module: Any) -> list[Any]:
    """BatchNorm layers with running statistics."""
    import torch

    kind = torch.nn.modules.batchnorm._BatchNorm
    return [m for m in module.modules() if isinstance(m, kind) and m.running_mean is not None]


def distilled(
    module: Any, call: Callable[[Mapping[str, Any]], Any], start: Tensors, seed: int, progress: Progress
) -> Tensors:
    """One batch of inputs.

    Args:
        module: in eval mode.
        call: runs the module on tensors by name.
        start: arrays by name; floats are changed, others stay.
        seed: of what the module draws itself, if it does.
    """
    import torch

    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            return _descend(module, call, start, progress)
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        torch.set_rng_state(torch_state)


def _descend(module: Any, call: Callable[[Mapping[str, Any]], Any], start: Tensors, progress: Progress) -> Tensors:
    import torch

    tensors = {name: as_tensor(array.copy()) for name, array in start.items()}
    learnt = [tensor.requires_grad_(True) for tensor in tensors.values() if tensor.is_floating_point()]
    optimizer = torch.optim.Adam(learnt, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    best, since = float("inf"), 0
    with ExitStack() as hooks:
        losses = _watch(module, hooks)
        for step in range(_STEPS):
            losses.clear()
            optimizer.zero_grad()
            call(tensors)
            loss = torch.stack(losses).mean() + _SMOOTH * sum(map(_variation, learnt))
            loss.backward()
            optimizer.step()
            schedule.step()
            progress(f"distilling data, step {step + 1} of {_STEPS}", (step + 1) / _STEPS)
            best, since = (loss.item(), 0) if loss.item() < best * (1 - _GAIN) else (best, since + 1)
            if since >= _PATIENCE:
                break
    return {name: as_array(tensor).copy() for name, tensor in tensors.items()}


def _watch(module: Any, hooks: ExitStack) -> list[Any]:
    """A list to which every BatchNorm adds, at each call, how far its input is from its running statistics."""
    losses: list[Any] = []

    def compare(layer: Any, args: tuple[Any, ...]) -> None:
        x = args[0]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        mean, deviation = x.mean(axes), x.var(axes, unbiased=False).add(1e-8).sqrt()
        wanted = layer.running_var.add(layer.eps).sqrt()
        distance = ((mean - layer.running_mean) / wanted).square() + ((deviation / wanted) - 1).square()
        losses.append(distance.mean())

    for layer in batch_norms(module):
        hooks.callback(layer.register_forward_pre_hook(compare).remove)
    return losses


def _variation(tensor: Any) -> Any:
    if tensor.ndim < 4:
        return tensor.new_zeros(())
    parts = [tensor.diff(dim=axis).abs().mean() for axis in range(2, tensor.ndim)]
    return sum(parts)
