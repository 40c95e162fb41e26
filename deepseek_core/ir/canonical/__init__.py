"""The canonical QDQ form, and the steps that bring any quantized ONNX model into it.

1. No local functions and no QOperators; Q/DQ in the default domain wherever its opset has the type.
2. Constants are initializers; a Q over a constant is folded, so quantized weights are integer initializer → DQ.
3. Every Q/DQ has an explicit zero point wherever the source allows to state it.
4. Each DQ feeds exactly one node input or graph output; equal Qs of one tensor are one; DQ → Q with equal
   parameters is nothing.
5. Node and value names are unique over the whole model.
6. Bodies of `If`, `Loop` and `Scan` obey the same rules; a DQ that a body captures is copied into the body.
"""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.canonical.codes import lift_codes
from deepseek_core.ir.canonical.constants import fold_quantized_constants, lift_constants
from deepseek_core.ir.canonical.contrib import adopt_contrib
from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.canonical.explicit import make_explicit
from deepseek_core.ir.canonical.inline import inline
from deepseek_core.ir.canonical.names import unify_names
from deepseek_core.ir.canonical.qoperators import lower_qoperators
from deepseek_core.ir.canonical.sharing import collapse_pairs, merge_quantizers, unshare_dequantizers
from deepseek_core.ir.canonical.tidy import remove_dead, sort_if_needed, use_default_domain

__all__ = ["canonicalize"]


def canonicalize(model: ir.Model) -> None:
    """Bring a model into canonical QDQ form, in place and without changing an output value. Idempotent.

    Raises:
        ModelError: local functions that cannot be inlined, a cycle, or quantization parameters that
            contradict each other; the message names the node.
    """
    inline(model)
    use_default_domain(model)
    sort_if_needed(model)
    unify_names(model)
    lift_constants(model)
    editor = Editor(model)
    adopt_contrib(model)
    lower_qoperators(editor)
    make_explicit(editor)
    fold_quantized_constants(editor)
    lift_codes(editor)
    merge_quantizers(model)
    collapse_pairs(model)
    remove_dead(model)
    unshare_dequantizers(editor)
    unify_names(model)
