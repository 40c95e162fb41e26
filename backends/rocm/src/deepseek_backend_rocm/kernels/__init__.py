"""The kernels, in Triton. `signatures` describes them without Triton; the other modules need it to be imported."""

__all__: list[str] = []
