#!/bin/sh
# Make $VENV with the whole workspace in it. Tried on Debian 12; needs Python >= 3.11.
set -eu

PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: '$PYTHON' is not Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2
    exit 2
fi
if [ ! -x "$VENV/bin/python" ] && ! "$PYTHON" -m venv "$VENV"; then
    echo "error: the venv module is missing; apt-get install python3-venv" >&2
    exit 2
fi

pip() { "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

echo "setting up $VENV (once; a few minutes, mostly PyTorch)"
pip --upgrade pip
# First and by its exact version: a range would take the newest build with gigabytes of CUDA.
"$VENV/bin/python" -c 'import torch' 2>/dev/null || pip torch==2.13.0
pip -r requirements-dev.txt
# Only its photographs are used; its own dependencies are not needed.
pip --no-deps foolbox==3.3.4
# Arm's TOSA reference model; it pins an older numpy, and runs with newer ones too.
pip --no-deps tosa-tools==2026.8.0
# Qualcomm's QNN for the NPU backend: proprietary, and only its plugin of ONNX Runtime is used. Without it tests skip.
[ "$(uname -sm)" != "Linux x86_64" ] || pip --no-deps onnxruntime-qnn==2.7.0
