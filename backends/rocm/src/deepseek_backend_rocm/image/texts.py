"""Texts beside the sources of an image."""

__all__ = ["BLOB", "MAKEFILE", "README"]

BLOB = """\
/* Constants, code objects and arguments of launches, as one piece of read-only data. */
    .section .rodata
    .globl ds_data
    .balign 4096
ds_data:
    .incbin "model.bin"
    .byte 0
    .section .note.GNU-stack, "", %progbits
"""

MAKEFILE = """\
# make                      with ROCm in /opt/rocm
# make HIP=minimal          with the declarations in hip_api.h instead of ROCm's headers; libamdhip64 is still linked
ROCM ?= /opt/rocm
CC ?= gcc
CFLAGS ?= -O2 -Wall -Wextra
ifeq ($(HIP),minimal)
CPPFLAGS += -DDS_NO_HIP_HEADERS
else
CPPFLAGS += -I$(ROCM)/include
endif
LDFLAGS += -L$(ROCM)/lib
LDLIBS += -lamdhip64

model: main.o launcher.o model.o data.o
\t$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

data.o: data.S model.bin
\t$(CC) -c -o $@ data.S

clean:
\trm -f model *.o
"""

README = """\
{name} for {architectures}

`make` builds the program `model`; it needs a C compiler and HIP's runtime library (libamdhip64). Without arguments it
lists inputs and outputs; with a file for each it reads raw bytes in C order, runs the model on the first device and
writes the outputs. `--graph` captures the launches into a HIP graph first.

launcher.h is what another program calls: ds_open, ds_run, ds_close. model.c has the launches of each architecture,
model.bin the constants and code objects. Kernels were chosen by an analytic model unless report.json says `measured`.
"""
