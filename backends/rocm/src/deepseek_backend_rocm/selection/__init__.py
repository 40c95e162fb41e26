"""Which variant of a kernel runs a step: candidates, what rules them out, and what ranks them."""

__all__: list[str] = []
