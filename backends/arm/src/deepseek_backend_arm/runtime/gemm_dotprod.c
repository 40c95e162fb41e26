/* Matrix products with sdot by lane: ARMv8.2-A and later. Compiled with that instruction set; see ds_cpu. */
#include "epilogue.h"

#if DS_HAS_NEON

enum { MOST_ROWS = 8 };

#define QUAD(q)                                                                                       \
    _Pragma("GCC unroll 4") for (int p = 0; p < panels; p++) {                                        \
        int8x16_t b = vld1q_s8(w[p] + 16 * (q));                                                      \
        _Pragma("GCC unroll 8") for (int i = 0; i < mr; i++) sums[i][p] = vdotq_laneq_s32(sums[i][p], b, a[i], q); \
    }

DS_INLINE void tile(const ds_gemm *g, const int8_t *const *rows, int channel, int mr, int panels, int first, int last,
                    int8_t *y) {
    int32x4_t sums[MOST_ROWS][4];
    const int8_t *x[MOST_ROWS], *w[4];
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++) {
        w[p] = g->weights + (size_t)(channel + 4 * p) * (size_t)g->depth;
        int32x4_t bias = vld1q_s32(g->bias + channel + 4 * p);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) sums[i][p] = bias;
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) x[i] = rows[i];
    for (long k = 0; k < g->depth; k += DS_BLOCK) {
        int8x16_t a[MOST_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) a[i] = vld1q_s8(x[i] + k);
        QUAD(0) QUAD(1) QUAD(2) QUAD(3)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++) w[p] += 64;
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) ds_put(g, sums[i], panels, channel, first + (i < last ? i : last), y);
}

DS_INLINE void sweep(const ds_gemm *g, const int8_t *const *rows, int count, int channel, int mr, int panels, int8_t *y) {
    int first = 0;
    for (; first + mr <= count; first += mr) tile(g, rows + first, channel, mr, panels, first, mr, y);
    int left = count - first;
    if (left == 1) tile(g, rows + first, channel, 1, panels, first, 0, y);
    else if (left > 1 && left <= 4) tile(g, rows + first, channel, 4, panels, first, left - 1, y);
    else if (left) tile(g, rows + first, channel, mr, panels, first, left - 1, y);
}

void ds_gemm_dotprod(const ds_gemm *g, const int8_t *const *rows, int count, int8_t *y) {
    int channel = 0;
    for (; channel + 16 <= g->channels; channel += 16) sweep(g, rows, count, channel, 6, 4, y);
    for (; channel + 4 < g->channels; channel += 8) sweep(g, rows, count, channel, 8, 2, y);
    if (channel < g->channels) sweep(g, rows, count, channel, 8, 1, y);
}

#endif
