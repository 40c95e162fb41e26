"""The loop-level plan of a part: kernels in order, where tensors lie, and how both are written down."""

__all__: list[str] = []
