/* Matrix products with sdot by lane: ARMv8.2-A and later. Compiled with that instruction set; see ds_cpu. */
#include "epilogue.h"

#if DS_HAS_NEON

enum { MOST_ROWS = 8 };

/* Four rows of a panel's block at once: the codes of four channels, for one quad of depth each. */
DS_INLINE int32x4_t quads(int32x4_t sum, int8x16x4_t b, int8x16_t a) {
    sum = vdotq_laneq_s32(sum, b.val[0], a, 0);
    sum = vdotq_laneq_s32(sum, b.val[1], a, 1);
    sum = vdotq_laneq_s32(sum, b.val[2], a, 2);
    return vdotq_laneq_s32(sum, b.val[3], a, 3);
}

DS_INLINE void tile(const ds_gemm *g, const int8_t *const *rows, int channel, int mr, int panels, int first, int last,
                    void *y) {
    int32x4_t sums[MOST_ROWS][4];
    const int8_t *x[MOST_ROWS], *w = ds_panel(g, channel);
    long skip = panels == 4 ? 0 : ds_pitch(g, channel) - 64 * panels, k = -(long)g->depth;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) x[i] = rows[i] + g->depth;
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++) {
        int32x4_t bias = vld1q_s32(g->bias + channel + 4 * p);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) sums[i][p] = bias;
    }
    do {
        int8x16_t a[MOST_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) a[i] = vld1q_s8(x[i] + k);
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++, w += 64) {
            int8x16x4_t b = vld1q_s8_x4(w);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) sums[i][p] = quads(sums[i][p], b, a[i]);
        }
        w += skip;
        k += DS_BLOCK;
    } while (k != 0);
    long place = (long)first * g->pitch + channel;
    if (panels > 1 && ds_is_plain(g, channel, 4 * panels)) {
        ds_put_plain(g, sums, channel, mr, panels, last, (int8_t *)y + place);
        return;
    }
    if (panels > 1 && ds_is_real(g, channel, 4 * panels)) {
        ds_put_reals(g, sums, channel, mr, panels, first, last, (float *)y + place);
        return;
    }
    if (panels > 1 && ds_is_sum(g, channel, 4 * panels)) {
        ds_put_sums(g, sums, channel, mr, panels, last, (int8_t *)y + place, g->addend + place);
        return;
    }
    int32x4_t kept[MOST_ROWS][4]; /* or the sums would live in memory from the start */
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++) kept[i][p] = sums[i][p];
    }
    ds_put_rows(g, kept, mr, panels, channel, first, last, y);
}

DS_INLINE void sweep(const ds_gemm *g, const int8_t *const *rows, int count, int channel, int mr, int panels, void *y) {
    int first = 0;
    for (; first + mr <= count; first += mr) tile(g, rows + first, channel, mr, panels, first, mr, y);
    int left = count - first;
    if (left == 1) tile(g, rows + first, channel, 1, panels, first, 0, y);
    else if (left) tile(g, rows + first, channel, mr, panels, first, left - 1, y);
}

void ds_gemm_dotprod(const ds_gemm *g, const int8_t *const *rows, int count, void *y) {
    int channel = 0;
    for (; channel + 12 < g->channels && !g->narrow; channel += 16) sweep(g, rows, count, channel, 5, 4, y);
    for (; channel + 4 < g->channels; channel += 8) sweep(g, rows, count, channel, 8, 2, y);
    if (channel < g->channels) sweep(g, rows, count, channel, 8, 1, y);
}

#endif
