"""Write down the Python surface of TensorRT bindings: classes with the names of their members.

The bindings of 10 and 11 install without the libraries they are linked to, and those cannot be installed from PyPI, so
empty stand-ins that define the missing symbols are compiled and loaded first.

    python collect.py FOLDER_WITH_BINDINGS MODULE OUTPUT.json
"""

from __future__ import annotations

import ctypes
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CLASSES = (
    "Builder",
    "BuilderFlag",
    "DataType",
    "EngineInspector",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IInt8EntropyCalibrator2",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProfiler",
    "ITimingCache",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
    "Runtime",
    "TacticSource",
    "TensorIOMode",
)


def main(folder: Path, name: str, output: Path) -> None:
    library = next((folder / name).glob("tensorrt*.so"))
    for stand_in in _stand_ins(library):
        ctypes.CDLL(stand_in, ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder))
    module = importlib.import_module(name)
    surface = {
        found: sorted(member for member in dir(getattr(module, found)) if not member.startswith("_"))
        for found in CLASSES
        if hasattr(module, found)
    }
    document = {"version": module.__version__, "classes": surface}
    output.write_text(json.dumps(document, indent=1) + "\n")


def _stand_ins(library: Path) -> list[str]:
    """A shared object under each needed name; the first defines every symbol that is missing."""
    needed = [
        line.split("[")[1].rstrip("]")
        for line in _run("readelf", "-d", str(library)).splitlines()
        if "NEEDED" in line and "libnv" in line
    ]
    undefined = [line.split()[-1] for line in _run("nm", "-D", "--undefined-only", str(library)).splitlines()]
    mine = [
        symbol for symbol in undefined if "@" not in symbol and not symbol.startswith(("Py", "_Py", "__gmon", "_ITM"))
    ]
    folder, made = Path(tempfile.mkdtemp()), []
    for number, name in enumerate(needed):
        source = "".join(f"long {symbol}[64];\n" for symbol in dict.fromkeys(mine)) if number == 0 else ""
        (folder / "standin.c").write_text(source)
        target = folder / name
        _run("gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(target), str(folder / "standin.c"))
        made.append(str(target))
    return made


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
