/* Runs models for another process: requests on standard input, answers on standard output. Little-endian int32 words.

   load   1, slot, sizes (see loader.h), the body
   run    2, slot, inputs, outputs; for each input its place, size and bytes; for each output its place and size
   free   3, slot
   Each answer is a status word, 0 for success, then the outputs' bytes. The process ends with its standard input. */
#include "loader.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 4096, LOAD = 1, RUN = 2, FREE = 3 };

static ds_loaded *slots[SLOTS];

static void take(void *data, size_t size) {
    if (fread(data, 1, size, stdin) != size) exit(1);
}

static void answer(int32_t status) { fwrite(&status, sizeof status, 1, stdout); }

static void load(ds_loaded **slot) {
    ds_sizes sizes;
    take(&sizes, sizeof sizes);
    int64_t size = ds_body_size(&sizes);
    uint8_t *body = size < 0 ? NULL : malloc((size_t)size + 1);
    if (body == NULL) exit(1);
    take(body, (size_t)size);
    ds_unload(*slot);
    answer(ds_load(slot, &sizes, body));
    free(body);
}

static void run(ds_loaded *loaded) {
    int32_t counts[2], piece[2];
    take(counts, sizeof counts);
    if (loaded == NULL) exit(1);
    for (int i = 0; i < counts[0]; i++) {
        take(piece, sizeof piece);
        void *data = ds_bytes(loaded, piece[0], piece[1]);
        if (data == NULL) exit(1);
        take(data, (size_t)piece[1]);
    }
    int status = ds_execute(loaded);
    answer(status);
    for (int i = 0; i < counts[1]; i++) {
        take(piece, sizeof piece);
        const void *data = ds_bytes(loaded, piece[0], piece[1]);
        if (data == NULL) exit(1);
        if (status == DS_OK) fwrite(data, 1, (size_t)piece[1], stdout);
    }
}

int main(void) {
    int32_t request[2];
    while (fread(request, sizeof request, 1, stdin) == 1) {
        if (request[1] < 0 || request[1] >= SLOTS) return 1;
        ds_loaded **slot = &slots[request[1]];
        if (request[0] == LOAD) {
            load(slot);
        } else if (request[0] == RUN) {
            run(*slot);
        } else if (request[0] == FREE) {
            ds_unload(*slot);
            *slot = NULL;
            answer(DS_OK);
        } else {
            return 1;
        }
        fflush(stdout);
    }
    return 0;
}
