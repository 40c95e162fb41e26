/* Matrix products of codes: which kernel runs, and how weights lie for it.

   Four channels are a panel, and up to four panels a slab. Along the depth of a slab lies one block of each of its panels,
   then the next of each: one pointer walks through all of them. A block has four channels by sixteen codes of depth:
       base order     [channel 4][code 16]             whole vectors along the depth, for smull and sadalp
       dotprod order  [quad 4][channel 4][code 4]      four channels by four codes in a vector, for sdot by lane
       i8mm order     [half 2][pair 2][channel 2][code 8]   two channels by eight codes in a vector, for smmla
   so that one image serves every CPU: the orders differ inside a block of 64 bytes, and ds_open changes them in place. */
#include "internal.h"

static void permute(int8_t *block, int unit, int rows, int columns) {
    int8_t copy[64];
    memcpy(copy, block, sizeof copy);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            memcpy(block + (c * rows + r) * unit, copy + (r * columns + c) * unit, (size_t)unit);
}

void ds_gemm_order(ds_level level, int8_t *weights, size_t bytes) {
    if (level == DS_NEON) return;
    for (size_t place = 0; place + 64 <= bytes; place += 64) {
        if (level == DS_DOTPROD) {
            permute(weights + place, 4, 4, 4);
        } else {
            permute(weights + place, 8, 4, 2);
        }
    }
}

void ds_gemm_run(ds_level level, const ds_gemm *g, const int8_t **rows, int count, void *y) {
    for (int i = count; i < count + 8; i++) rows[i] = rows[count - 1];
    switch (g->by_dot && level > DS_DOTPROD ? DS_DOTPROD : level) {
#if DS_HAS_NEON
        case DS_I8MM: ds_gemm_i8mm(g, rows, count, y); break;
        case DS_DOTPROD: ds_gemm_dotprod(g, rows, count, y); break;
#endif
        default: ds_gemm_neon(g, rows, count, y);
    }
}
