"""TensorRT 11: every network is strongly typed; calibrators, precision flags and layer precisions are gone."""

from __future__ import annotations

from deepseek_backend_tensorrt.vendor.api import Api

__all__ = ["Api11"]


class Api11(Api):
    """Nothing is different from what all generations share."""

    generation = "11"
