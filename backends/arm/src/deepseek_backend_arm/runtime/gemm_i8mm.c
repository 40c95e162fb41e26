/* Matrix products with smmla, two rows by two channels at a time: ARMv8.6-A. Compiled with that instruction set. */
#include "epilogue.h"

#if DS_HAS_NEON

enum { MR = 8 };

DS_INLINE int8x16_t halves(int8x16_t a, int8x16_t b, bool high) {
    int64x2_t x = vreinterpretq_s64_s8(a), y = vreinterpretq_s64_s8(b);
    return vreinterpretq_s8_s64(high ? vzip2q_s64(x, y) : vzip1q_s64(x, y));
}

DS_INLINE void tile(const ds_gemm *g, const int8_t *const *rows, int channel, int mr, int panels, int first, int last,
                    void *y) {
    int32x4_t sums[MR / 2][2][2]; /* pair of rows, panel, pair of channels */
    const int8_t *w = ds_panel(g, channel);
    long pitch = ds_pitch(g, channel);
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++) {
        int64x2_t bias = vreinterpretq_s64_s32(vld1q_s32(g->bias + channel + 4 * p));
#pragma GCC unroll 4
        for (int i = 0; i < mr / 2; i++) {
            sums[i][p][0] = vreinterpretq_s32_s64(vzip1q_s64(bias, bias));
            sums[i][p][1] = vreinterpretq_s32_s64(vzip2q_s64(bias, bias));
        }
    }
    for (long k = 0; k < g->depth; k += DS_BLOCK) {
        int8x16_t a[MR / 2][2];
#pragma GCC unroll 4
        for (int i = 0; i < mr / 2; i++) {
            int8x16_t one = vld1q_s8(rows[2 * i] + k), two = vld1q_s8(rows[2 * i + 1] + k);
            a[i][0] = halves(one, two, false);
            a[i][1] = halves(one, two, true);
        }
#pragma GCC unroll 2
        for (int p = 0; p < panels; p++) {
#pragma GCC unroll 4
            for (int part = 0; part < 4; part++) {
                int8x16_t b = vld1q_s8(w + 64 * p + 16 * part);
#pragma GCC unroll 4
                for (int i = 0; i < mr / 2; i++)
                    sums[i][p][part % 2] = vmmlaq_s32(sums[i][p][part % 2], a[i][part / 2], b);
            }
        }
        w += pitch;
    }
    int32x4_t out[MR][4];
#pragma GCC unroll 4
    for (int i = 0; i < mr / 2; i++) {
#pragma GCC unroll 2
        for (int p = 0; p < panels; p++) {
            int64x2_t left = vreinterpretq_s64_s32(sums[i][p][0]), right = vreinterpretq_s64_s32(sums[i][p][1]);
            out[2 * i][p] = vreinterpretq_s32_s64(vzip1q_s64(left, right));
            out[2 * i + 1][p] = vreinterpretq_s32_s64(vzip2q_s64(left, right));
        }
    }
    long place = (long)first * g->pitch + channel;
    if (panels > 1 && ds_is_plain(g, channel, 4 * panels)) {
        ds_put_plain(g, out, channel, mr, panels, last, (int8_t *)y + place);
        return;
    }
    if (panels > 1 && ds_is_real(g, channel, 4 * panels)) {
        ds_put_reals(g, out, channel, mr, panels, first, last, (float *)y + place);
        return;
    }
    if (panels > 1 && ds_is_sum(g, channel, 4 * panels)) {
        ds_put_sums(g, out, channel, mr, panels, last, (int8_t *)y + place, g->addend + place);
        return;
    }
    int32x4_t kept[MR][4]; /* or the sums would live in memory from the start */
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++) kept[i][p] = out[i][p];
    }
    ds_put_rows(g, kept, mr, panels, channel, first, last, y);
}

DS_INLINE void sweep(const ds_gemm *g, const int8_t *const *rows, int count, int channel, int panels, void *y) {
    for (int first = 0; first < count; first += MR) {
        int left = count - first;
        if (left >= MR) tile(g, rows + first, channel, MR, panels, first, MR, y);
        else if (left <= 2) tile(g, rows + first, channel, 2, panels, first, left - 1, y);
        else tile(g, rows + first, channel, MR, panels, first, left - 1, y);
    }
}

void ds_gemm_i8mm(const ds_gemm *g, const int8_t *const *rows, int count, void *y) {
    int channel = 0;
    for (; channel + 4 < g->channels; channel += 8) sweep(g, rows, count, channel, 2, y);
    if (channel < g->channels) sweep(g, rows, count, channel, 1, y);
}

#endif
