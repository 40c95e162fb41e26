"""Readers of formats whose packages only this job's environment has.

Usage: formats_job.py encode TOKENIZER LENGTH TEXTS IDS
       formats_job.py safetensors FILE WEIGHTS
       formats_job.py gguf FILE WEIGHTS TOKENIZER

`encode` maps a JSON list of texts to a JSON list of token lists, cut to LENGTH (0: whole). The others write float32
arrays by name to the .npz WEIGHTS; `gguf` dequantizes, and writes the byte-level BPE tokenizer beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's pre-tokenizer with single digits, as SmolLM's."""


def encode(tokenizer: str, length: str, texts: str, ids: str) -> None:
    from tokenizers import Tokenizer

    coder = Tokenizer.from_file(tokenizer)
    coder.no_padding()
    coder.no_truncation()
    if int(length):
        coder.enable_truncation(int(length))
    found = [coder.encode(text).ids for text in json.loads(Path(texts).read_text())]
    Path(ids).write_text(json.dumps(found))


def safetensors(file: str, weights: str) -> None:
    from safetensors.numpy import load_file

    np.savez(weights, **{name: array.astype(np.float32) for name, array in load_file(file).items() if array.ndim})


def gguf(file: str, weights: str, tokenizer: str) -> None:
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(file)
    arrays = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    np.savez(weights, **arrays)
    _bpe(reader.fields["tokenizer.ggml.tokens"].contents(), reader.fields["tokenizer.ggml.merges"].contents()).save(
        tokenizer
    )


def _bpe(tokens: list[str], merges: list[str]) -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    pairs = [tuple(merge.split(" ")) for merge in merges]
    coder = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    coder.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return coder


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"encode": encode, "safetensors": safetensors, "gguf": gguf}
    jobs[sys.argv[1]](*sys.argv[2:])
