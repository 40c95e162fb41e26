"""The Echo device: a DeepSeek backend to learn from."""

__all__: list[str] = []
