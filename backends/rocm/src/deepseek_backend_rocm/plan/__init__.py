"""Steps on the way from units to a program: what is launched, on which bytes, by which variant of a kernel."""

__all__: list[str] = []
