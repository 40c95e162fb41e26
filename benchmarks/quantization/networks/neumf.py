"""Neural matrix factorization (He et al., 2017) in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NeuMF"]


class NeuMF(nn.Module):
    """User, int64 [batch], and films, int64 [batch, candidates], to scores, float32 [batch, candidates]."""

    def __init__(self, users: int, films: int, width: int = 32) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in (users, films, users, films))
        for table in self.tables:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.05)
        self.tower = nn.Sequential(
            nn.Linear(2 * width, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 16),
            nn.ReLU(),
        )
        self.last = nn.Linear(width + 16, 1)

    def forward(self, user: Tensor, films: Tensor) -> Tensor:
        factors_u, factors_f, user_m, film_m = (
            table(films if index % 2 else user) for index, table in enumerate(self.tables)
        )
        product = factors_u[:, None] * factors_f
        deep = self.tower(torch.cat([user_m[:, None].expand_as(film_m), film_m], -1))
        y: Tensor = self.last(torch.cat([product, deep], -1))[..., 0]
        return y
