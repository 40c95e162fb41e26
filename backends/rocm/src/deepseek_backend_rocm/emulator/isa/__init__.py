"""Instructions, one module for each family; importing this package registers them all."""

from deepseek_backend_rocm.emulator.isa import (
    buffer_memory,
    control,
    convert,
    cross_lane,
    dot,
    global_memory,
    local_memory,
    matrix,
    packed,
    scalar_alu,
    scalar_compare,
    scalar_memory,
    vector_compare,
    vector_float,
    vector_integer,
    wave_matrix,
)

__all__ = [
    "buffer_memory",
    "control",
    "convert",
    "cross_lane",
    "dot",
    "global_memory",
    "local_memory",
    "matrix",
    "packed",
    "scalar_alu",
    "scalar_compare",
    "scalar_memory",
    "vector_compare",
    "vector_float",
    "vector_integer",
    "wave_matrix",
]
