"""Choose int8 or float per unit by measuring both on this machine."""

__all__: list[str] = []
