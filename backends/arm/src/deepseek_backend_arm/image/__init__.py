"""Images: a program as C, as a static library, or as one executable file."""

__all__: list[str] = []
