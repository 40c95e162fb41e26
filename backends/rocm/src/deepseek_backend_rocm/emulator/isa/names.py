"""Mnemonics that RDNA has for what CDNA calls otherwise: the same instruction, built by the same code."""

from __future__ import annotations

import re

__all__ = ["canonical"]

_EQUAL = {
    "s_and_not1": "s_andn2",
    "s_or_not1": "s_orn2",
    "s_and_not0": "s_andn1",
    "s_or_not0": "s_orn1",
    "s_ctz": "s_ff1",
    "s_clz": "s_flbit",
    "s_add_co": "s_add",
    "s_sub_co": "s_sub",
    "s_addk_co": "s_addk",
    "s_add_nc": "s_add",
    "s_sub_nc": "s_sub",
    "s_add_co_ci": "s_addc",
    "s_sub_co_ci": "s_subb",
    "s_max_num": "s_max",
    "s_min_num": "s_min",
}
_WHOLE = {
    "v_add_nc_u32": "v_add_u32",
    "v_sub_nc_u32": "v_sub_u32",
    "v_subrev_nc_u32": "v_subrev_u32",
    "v_add_nc_i32": "v_add_i32",
    "v_sub_nc_i32": "v_sub_i32",
    "v_add_nc_u16": "v_add_u16",
    "v_sub_nc_u16": "v_sub_u16",
    "v_add_nc_i16": "v_add_i16",
    "v_sub_nc_i16": "v_sub_i16",
    "v_add_co_ci_u32": "v_addc_co_u32",
    "v_sub_co_ci_u32": "v_subb_co_u32",
    "v_subrev_co_ci_u32": "v_subbrev_co_u32",
    "v_clz_i32_u32": "v_ffbh_u32",
    "v_ctz_i32_b32": "v_ffbl_b32",
    "v_cls_i32": "v_ffbh_i32",
    "v_mad_co_u64_u32": "v_mad_u64_u32",
    "v_mad_co_i64_i32": "v_mad_i64_i32",
    "v_cvt_floor_i32_f32": "v_cvt_flr_i32_f32",
    "v_cvt_nearest_i32_f32": "v_cvt_rpi_i32_f32",
    "v_dot2acc_f32_f16": "v_dot2c_f32_f16",
}
_MEMORY = {
    "u8": "ubyte",
    "i8": "sbyte",
    "u16": "ushort",
    "i16": "sshort",
    "b32": "dword",
    "b64": "dwordx2",
    "b96": "dwordx3",
    "b128": "dwordx4",
    "d16_u8": "ubyte_d16",
    "d16_hi_u8": "ubyte_d16_hi",
    "d16_i8": "sbyte_d16",
    "d16_hi_i8": "sbyte_d16_hi",
    "d16_b16": "short_d16",
    "d16_hi_b16": "short_d16_hi",
}
_STORED = _MEMORY | {"b8": "byte", "b16": "short", "d16_hi_b8": "byte_d16_hi"}
_SCALAR = {"b32": "dword", "b64": "dwordx2", "b96": "dwordx3", "b128": "dwordx4", "b256": "dwordx8", "b512": "dwordx16"}
_ATOMIC = {"add_u32": "add", "max_i32": "smax", "min_i32": "smin", "max_u32": "umax", "min_u32": "umin"}
_ATOMIC |= {"and_b32": "and", "or_b32": "or", "xor_b32": "xor", "swap_b32": "swap"}


def canonical(name: str) -> str:
    """The mnemonic that tables have."""
    name = name.replace("v_dual_", "v_")
    if name in _WHOLE:
        return _WHOLE[name]
    if name.startswith("s_"):
        return _scalar(name)
    if name.startswith("v_"):
        return re.sub(r"_num(?=_f|$)", "", name)
    if name.startswith("ds_"):
        return _local(name)
    found = re.match(r"(global|flat|buffer|scratch)_(load|store|atomic)_(.*)$", name)
    if found:
        names = {"load": _MEMORY, "store": _STORED, "atomic": _ATOMIC}[found[2]]
        return f"{found[1]}_{found[2]}_{names.get(found[3], found[3])}"
    return name


def _scalar(name: str) -> str:
    if name.startswith("s_load_"):
        return f"s_load_{_SCALAR.get(name[7:], name[7:])}"
    for old in sorted(_EQUAL, key=len, reverse=True):
        if name.startswith(f"{old}_"):
            return _EQUAL[old] + name[len(old) :]
    return name


def _local(name: str) -> str:
    name = name.replace("ds_load_", "ds_read_").replace("ds_store_", "ds_write_")
    return name.replace("_2addr_stride64_", "2st64_").replace("_2addr_", "2_")
