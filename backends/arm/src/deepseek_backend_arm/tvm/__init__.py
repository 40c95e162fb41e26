"""Units without an own kernel, compiled by TVM: with the extra `deepseek-backend-arm[tvm]`.

A unit becomes an ONNX model of one node (`node`). A child process imports it into TVM and lowers it to C functions
over pointers (`worker`, `relaxed`, `codegen`), which come back to the lowering as an object with calls (`compiled`).
There `by_tvm` makes steps of them like any other, so that the memory plan holds what lies between them.
"""

__all__: list[str] = []
