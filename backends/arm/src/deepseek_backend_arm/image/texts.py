"""Texts that go with a library or with sources."""

from __future__ import annotations

__all__ = ["EXAMPLE", "MAKEFILE", "README"]

EXAMPLE = """\
/* Runs the model once on zeros:
   aarch64-linux-gnu-gcc -O2 example.c libmodel.a -lm -lpthread -o example */
#include <stdio.h>
#include <string.h>

#include "ds.h"

extern const ds_model ds_program;

int main(void) {
    ds_context *context = ds_open(&ds_program, 1);
    if (context == NULL) return 1;
    for (int i = 0; i < ds_program.inputs_count; i++) {
        const ds_tensor *input = &ds_program.inputs[i];
        memset(ds_data(context, input), 0, (size_t)input->bytes);
    }
    ds_run(context);
    for (int i = 0; i < ds_program.outputs_count; i++) {
        const ds_tensor *output = &ds_program.outputs[i];
        const unsigned char *bytes = ds_data(context, output);
        printf("%s: %d bytes, the first is %d\\n", output->name, output->bytes, output->bytes > 0 ? bytes[0] : 0);
    }
    ds_close(context);
    return 0;
}
"""

MAKEFILE = """\
# make CC=aarch64-linux-gnu-gcc
CFLAGS = {flags}
OBJECTS = {objects} constants.o
MADE = {made}

image: $(OBJECTS) $(MADE)
\t$(CC) -static -s -o $@ $(OBJECTS) $(MADE) -lm -lpthread

{rules}
constants.o: constants.S constants.bin

clean:
\trm -f image $(OBJECTS)
"""

README = {
    "lib": """\
libmodel.a has the model and all kernels; ds.h is its interface, and example.c runs it once.
Link with -lm and -lpthread. The library needs a 64-bit ARM CPU and finds out what it can do when it starts.
""",
    "c": """\
The model as C: program.c has its steps, constants.bin its weights, the other files the kernels.
Objects that end in .obj, where there are some, are units that TVM compiled for ARM64.
`make CC=aarch64-linux-gnu-gcc` builds the program `image`; `./image --help` says what it does.
""",
}
