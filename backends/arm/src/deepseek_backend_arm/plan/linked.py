"""Functions that another compiler made: their objects, and the table by which steps call them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

__all__ = ["Function", "Linked"]


@dataclass(frozen=True, slots=True)
class Function:
    """A C function whose parameters are pointers.

    Attributes:
        symbol: its name.
        pointers: number of its parameters.
    """

    symbol: str
    pointers: int


@dataclass(slots=True)
class Linked:
    """What is linked for one program.

    Attributes:
        objects: relocatable ELF files, each once.
        functions: the table; steps have positions in it.
        units: units that they compute, each with its op, for people.
    """

    objects: list[bytes] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, built: bytes, functions: list[Function]) -> list[int]:
        """Positions of an object's functions."""
        if built and built not in self.objects:
            self.objects.append(built)
        for function in functions:
            if function not in self.functions:
                self.functions.append(function)
        return [self.functions.index(function) for function in functions]

    def source(self) -> str:
        """`linked.c` of the runtime, with this table."""
        names = ", ".join(f"call_{number}" for number in range(len(self.functions)))
        declared = "".join(f"void {f.symbol}({', '.join(['void *'] * f.pointers)});\n" for f in self.functions)
        return (
            '/* Functions that another compiler made. Made by plan/linked.py. */\n#include "linked.h"\n\n'
            f"{declared}\n{''.join(map(_call, range(len(self.functions)), self.functions))}\n"
            f"const ds_function_of_places ds_linked[] = {{{names}}};\n"
            f"const int32_t ds_linked_count = {len(self.functions)};\n"
            f"const char ds_linked_units[] = {_text(', '.join(self.units))};\n"
        )


def _call(number: int, function: Function) -> str:
    arguments = ", ".join(f"places[{i}]" for i in range(function.pointers))
    return f"static void call_{number}(uint8_t *const *places) {{ {function.symbol}({arguments}); }}\n"


def _text(text: str) -> str:
    """A C string of ASCII; an underscore for what C or a terminal would take for something else."""
    return json.dumps("".join(c if c.isascii() and c.isprintable() and c != "?" else "_" for c in text))
