"""A TensorRT whose engines run in ONNX Runtime, over a CUDA driver whose device is the host's memory.

It has the surface that the adapters use, of the version that FAKE_TENSORRT_VERSION names, or exactly what the
file FAKE_TENSORRT_SURFACE lists, and refuses what the real
one refuses: networks that are not explicit batch (8.6), other precisions than flags allow, and, by name, the operators
in FAKE_TENSORRT_REFUSES.
"""

import ctypes
import enum
import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

_SURFACE = os.environ.get("FAKE_TENSORRT_SURFACE", "")
_KNOWN = json.loads(Path(_SURFACE).read_text()) if _SURFACE else None
__version__ = _KNOWN["version"] if _KNOWN else os.environ.get("FAKE_TENSORRT_VERSION", "8.6.0")
_MAJOR = int(__version__.split(".")[0])


def _enum(name, *members):
    return enum.IntEnum(name, {member: number for number, member in enumerate(members)})


class ILogger:
    Severity = _enum("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")

    def __init__(self):
        pass


class IProfiler:
    def __init__(self):
        pass


NetworkDefinitionCreationFlag = (
    _enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH")
    if _MAJOR == 8
    else _enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "STRONGLY_TYPED")
    if _MAJOR == 10
    else _enum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
)
BuilderFlag = _enum("BuilderFlag", "TF32", "VERSION_COMPATIBLE", *(("FP16", "INT8") if _MAJOR < 11 else ()))
TacticSource = _enum("TacticSource", "CUBLAS", "CUBLAS_LT", "CUDNN", "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
MemoryPoolType = _enum("MemoryPoolType", "WORKSPACE")
ProfilingVerbosity = _enum("ProfilingVerbosity", "LAYER_NAMES_ONLY", "DETAILED")
HardwareCompatibilityLevel = _enum("HardwareCompatibilityLevel", "NONE", "AMPERE_PLUS")
LayerInformationFormat = _enum("LayerInformationFormat", "ONELINE", "JSON")
TensorIOMode = _enum("TensorIOMode", "NONE", "INPUT", "OUTPUT")
DataType = _enum(
    "DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", *(("INT64",) if _MAJOR > 8 else ())
)
_TYPES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "uint8": "UINT8",
}


class _Error:
    def __init__(self, node, text):
        self._node, self._text = node, text

    def desc(self):
        return self._text

    def node_name(self):
        return self._node


class _Network:
    def __init__(self, flags):
        self._flags, self._model = flags, None


class OnnxParser:
    """Reads any ONNX, up to the opset and without the operators that it is told to refuse."""

    def __init__(self, network, logger):
        self._network, self._errors = network, []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, number):
        return self._errors[number]

    def parse(self, data):
        model = onnx.load_model_from_string(bytes(data))
        opset = next(entry.version for entry in model.opset_import if not entry.domain)
        if _MAJOR == 8 and not self._network._flags & 1:
            self._errors.append(_Error("", "explicit batch is required"))
        if _MAJOR == 8 and opset > 17:
            self._errors.append(_Error("", f"opset {opset} is not supported"))
        refused = os.environ.get("FAKE_TENSORRT_PARSER_REFUSES", "").split()
        self._errors += [_Error(node.name, "no importer") for node in model.graph.node if node.op_type in refused]
        self._network._model = model
        return not self._errors


class _TimingCache:
    def __init__(self, data):
        self._data = data

    def serialize(self):
        return self._data + b"+"


class _Config:
    def __init__(self):
        self._flags, self._profiles, self._sources = {"TF32"}, [], None
        self.profiling_verbosity = self.builder_optimization_level = None
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self._workspace = None

    def set_flag(self, flag):
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool, size):
        self._workspace = size

    def set_tactic_sources(self, mask):
        self._sources = mask

    def add_optimization_profile(self, profile):
        self._profiles.append(profile._shapes)

    def create_timing_cache(self, data):
        return _TimingCache(bytes(data))

    def set_timing_cache(self, cache, ignore_mismatch):
        self._cache = cache

    def get_timing_cache(self):
        return self._cache


class _Profile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, low, usual, high):
        self._shapes[name] = [list(low), list(usual), list(high)]


class Builder:
    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags=0):
        return _Network(flags)

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        return _Profile()

    def build_serialized_network(self, network, config):
        if os.environ.get("FAKE_TENSORRT_DIES"):
            os._exit(9)
        if os.environ.get("FAKE_TENSORRT_HATES_CACHES") and config._cache._data:
            self._logger.log(ILogger.Severity.ERROR, "1: [myelinCache.h::deserializeFromBuffer] unknown graph")
            return None
        ops = {node.op_type for node in network._model.graph.node}
        if "INT8" in config._flags and not ops & {"QuantizeLinear", "DequantizeLinear"}:
            self._logger.log(ILogger.Severity.ERROR, "4: Calibration failure occurred with no scaling factors detected")
            return None
        refused = os.environ.get("FAKE_TENSORRT_REFUSES", "").split()
        bad = next((node for node in network._model.graph.node if node.op_type in refused), None)
        if bad is not None:
            self._logger.log(ILogger.Severity.ERROR, f"10: could not find any implementation for node {bad.name}")
            return None
        head = {
            "version": __version__,
            "profiles": config._profiles,
            "flags": sorted(config._flags),
            "level": config.builder_optimization_level,
            "sources": config._sources,
            "hardware": int(config.hardware_compatibility_level),
        }
        text = json.dumps(head).encode()
        return b"FAKE" + len(text).to_bytes(4, "little") + text + network._model.SerializeToString()


class _Inspector:
    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):
        return json.dumps({"Layers": _layers(self._engine._model)})


def _layers(model):
    """One layer for each node that computes, on codes where DQs feed it."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        sources = [makers.get(name) for name in node.input[:2]]
        codes = [source is not None and source.op_type == "DequantizeLinear" for source in sources]
        kinds = ["Int8" if is_code else "FP32" for is_code in codes]
        inputs = [
            {"Name": name, "Format/Datatype": f"Row major {k} format"}
            for name, k in zip(node.input, kinds, strict=False)
        ]
        found.append(
            {
                "Name": node.name,
                "LayerType": "CaskConvolution" if node.op_type == "Conv" else "PointWise",
                "Inputs": inputs,
                "Outputs": [],
                "TacticName": "fake",
            }
        )
    return found


class Runtime:
    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, plan):
        try:
            return _Engine(bytes(plan))
        except Exception as error:
            self._logger.log(ILogger.Severity.ERROR, f"1: [runtime] magic tag does not match ({type(error).__name__})")
            return None


class _Engine:
    def __init__(self, plan):
        if plan[:4] != b"FAKE":
            raise ValueError("not a plan")
        size = int.from_bytes(plan[4:8], "little")
        self._head = json.loads(plan[8 : 8 + size])
        self._model = onnx.load_model_from_string(plan[8 + size :])
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.log_severity_level = 4
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(plan[8 + size :], settings, providers=["CPUExecutionProvider"])
        self._io = {v.name: (v, True) for v in self._session.get_inputs()}
        self._io |= {v.name: (v, False) for v in self._session.get_outputs()}
        self.num_io_tensors, self.num_optimization_profiles = len(self._io), max(1, len(self._head["profiles"]))
        self._scratch = int(os.environ.get("FAKE_TENSORRT_SCRATCH", "1048576"))

    @property
    def device_memory_size(self):
        return self._scratch

    device_memory_size_v2 = device_memory_size

    def get_tensor_name(self, number):
        return list(self._io)[number]

    def _numpy_type(self, name):
        kind = self._io[name][0].type.removeprefix("tensor(").removesuffix(")")
        kind = {"float": "float32", "double": "float64"}.get(kind, kind)
        return "int32" if kind == "int64" and _MAJOR == 8 else kind

    def get_tensor_dtype(self, name):
        return DataType[_TYPES[self._numpy_type(name)]]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if self._io[name][1] else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        return tuple(size if isinstance(size, int) else -1 for size in self._io[name][0].shape)

    def get_tensor_profile_shape(self, name, profile):
        return self._head["profiles"][profile][name]

    def create_engine_inspector(self):
        return _Inspector(self)

    def create_execution_context(self):
        return _Context(self)


class _Context:
    """Reads and writes the host memory that the driver calls the device's."""

    def __init__(self, engine):
        self.engine, self.profiler, self._shapes, self._addresses = engine, None, {}, {}
        self._profile = 0

    def set_input_shape(self, name, shape):
        self._shapes[name] = tuple(shape)
        return True

    def set_optimization_profile_async(self, profile, stream):
        self._profile = profile
        return True

    def get_tensor_shape(self, name):
        if name in self._shapes:
            return self._shapes[name]
        fixed = self.engine.get_tensor_shape(name)
        if -1 not in fixed:
            return fixed
        feeds = {n: np.zeros(s, self._own_type(n)) for n, s in self._shapes.items()}
        return self.engine._session.run([name], feeds)[0].shape

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        driver = ctypes.CDLL(os.environ["DEEPSEEK_CUDA_LIBRARY"])
        again = ctypes.CFUNCTYPE(None)(self._execute)
        if driver.fakeCapturing(again):
            self._kept = again  # as long as the context lives, its graphs may be launched
        self._execute()
        return True

    def _execute(self):
        feeds = {n: self._view(n, s).astype(self._own_type(n)) for n, s in self._shapes.items()}
        names = [v.name for v in self.engine._session.get_outputs()]
        for name, value in zip(names, self.engine._session.run(names, feeds), strict=True):
            array = np.ascontiguousarray(value.astype(self.engine._numpy_type(name)))
            ctypes.memmove(self._addresses[name], array.ctypes.data, array.nbytes)
        if self.profiler is not None:
            for layer in _layers(self.engine._model):
                self.profiler.report_layer_time(layer["Name"], 0.1 if "Int8" in str(layer["Inputs"]) else 0.2)

    def _own_type(self, name):
        kind = self.engine._io[name][0].type.removeprefix("tensor(").removesuffix(")")
        return {"float": "float32"}.get(kind, kind)

    def _view(self, name, shape):
        dtype = np.dtype(self.engine._numpy_type(name))
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return np.frombuffer(ctypes.string_at(self._addresses[name], size), dtype).reshape(shape)


def _keep_to(surface):
    """Let the classes have no public member that the bindings of a version do not have."""
    classes = {
        "Builder": Builder,
        "EngineInspector": _Inspector,
        "IBuilderConfig": _Config,
        "ICudaEngine": _Engine,
        "IExecutionContext": _Context,
        "INetworkDefinition": _Network,
        "IOptimizationProfile": _Profile,
        "ITimingCache": _TimingCache,
        "OnnxParser": OnnxParser,
        "ParserError": _Error,
        "Runtime": Runtime,
    }
    for name, members in surface["classes"].items():
        if name in classes:
            _guard(classes[name], frozenset(members))
        elif isinstance(globals().get(name), type) and issubclass(globals()[name], enum.IntEnum):
            own = [member for member in globals()[name].__members__ if member in members]
            others = [member for member in members if member not in ("name", "value", *own)]
            globals()[name] = _enum(name, *own, *others)


def _guard(kind, members):
    read, write = kind.__getattribute__, kind.__setattr__

    def check(name):
        if not name.startswith("_") and name not in members:
            raise AttributeError(f"{kind.__name__} of TensorRT {__version__} has no '{name}'")

    def get(self, name):
        check(name)
        return read(self, name)

    def set_(self, name, value):
        check(name)
        write(self, name, value)

    kind.__getattribute__, kind.__setattr__ = get, set_


if _KNOWN:
    _keep_to(_KNOWN)
