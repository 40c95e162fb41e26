"""Modules that torch cannot export; tests ask which line and construct the error names."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:  # branch
            return x * 2
        return x - 1


class Loop(nn.Module):
    def forward(self, x):
        while x.abs().max() > 1:  # loop
            x = x / 2
        return x


class Counted(nn.Module):
    def forward(self, x):
        for _ in range(int(x.sum())):  # counted
            x = x / 2
        return x


class Conditional(nn.Module):
    def forward(self, x):
        return x * 2 if x.mean() > 0 else x  # conditional


class Helper(nn.Module):
    def forward(self, x):
        return torch.relu(_sign(x))


def _sign(x):
    return x if bool((x > 0).all()) else -x  # helper


class Numpy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.tanh(x.numpy()))  # numpy


class Unknown(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)  # unknown


class Mismatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x):
        return self.linear(x)  # mismatch


class Objects(nn.Module):
    def forward(self, x):
        return {"shape": tuple(x.shape)}
