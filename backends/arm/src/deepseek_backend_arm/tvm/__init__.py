"""Units without an own kernel, compiled by TVM: with the extra `deepseek-backend-arm[tvm]`.

A unit becomes an ONNX model of one node (`node`). A child process imports it into TVM and lowers it to C functions
over pointers (`worker`, `relaxed`, `codegen`), which come back as one object with the order of its calls (`compiled`).
Those become steps of the program like any other (`lowering`): the memory plan holds what lies between them.
"""

__all__: list[str] = []
