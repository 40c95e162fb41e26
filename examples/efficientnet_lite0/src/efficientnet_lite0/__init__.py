"""EfficientNet-Lite0 with its trained weights, and photographs to run it on."""

__all__: list[str] = []
