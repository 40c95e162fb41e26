"""Commands that the toolkit adds to `deepseek`, or puts in the place of the core's: parsing and printing only."""

__all__: list[str] = []
