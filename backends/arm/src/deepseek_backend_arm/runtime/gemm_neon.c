/* Matrix products with smull, smlal2 and sadalp: every ARMv8-A CPU. The portable form is for other machines. */
#include "epilogue.h"

#if DS_HAS_NEON

enum { MR = 6, FOURS = 4 };

typedef struct {
    int32x4_t of[MR][4];
} sums;

/* Two products of codes and weights within [-127, 127] fit int16: 2 * 128 * 127 < 32768. */
DS_INLINE int32x4_t two(int32x4_t sum, int8x16_t a, int8x16_t w, bool wide) {
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(w));
    if (wide) return vpadalq_s16(vpadalq_s16(sum, low), vmull_high_s8(a, w));
    return vpadalq_s16(sum, vmlal_high_s8(low, a, w));
}

/* Four fit where the weights of each lane are small: 128 times the sum of their magnitudes, at most 255. */
DS_INLINE int32x4_t four(int32x4_t sum, int8x16_t a, int8x16_t b, int8x16_t v, int8x16_t w) {
    int16x8_t low = vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(v)), a, v);
    return vpadalq_s16(sum, vmlal_high_s8(vmlal_s8(low, vget_low_s8(b), vget_low_s8(w)), b, w));
}

typedef struct {
    int32x4_t bias;
    float32x4_t scale;
    int channel, size; /* first channel, and how many of four exist */
    const int8_t *weights;
    const uint8_t *tight;
    long pitch; /* bytes from one block to the next */
} panel;

DS_INLINE void start(sums *s, const int8_t **x, const int8_t *const *rows, long depth, int mr) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        x[i] = rows[i] + depth;
        s->of[i][0] = s->of[i][1] = s->of[i][2] = s->of[i][3] = vdupq_n_s32(0);
    }
}

DS_INLINE void block(sums *s, const int8_t *const *x, long k, const int8_t *w, int mr, bool wide) {
    int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16), w2 = vld1q_s8(w + 32), w3 = vld1q_s8(w + 48);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        int8x16_t a = vld1q_s8(x[i] + k);
        s->of[i][0] = two(s->of[i][0], a, w0, wide);
        s->of[i][1] = two(s->of[i][1], a, w1, wide);
        s->of[i][2] = two(s->of[i][2], a, w2, wide);
        s->of[i][3] = two(s->of[i][3], a, w3, wide);
    }
}

DS_INLINE void blocks(sums *s, const int8_t *const *x, long k, const int8_t *w, long pitch, int mr) {
    const int8_t *u = w + pitch;
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        int8x16_t first = vld1q_s8(w + 16 * c), second = vld1q_s8(u + 16 * c);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
            s->of[i][c] = four(s->of[i][c], vld1q_s8(x[i] + k), vld1q_s8(x[i] + k + DS_BLOCK), first, second);
    }
}

/* The end of x is counted up to from below, so that one addition counts and compares. */
DS_INLINE void by_two(sums *s, const panel *p, const int8_t *const *rows, long depth, int mr, bool wide) {
    const int8_t *x[MR], *w = p->weights;
    long k = -depth;
    start(s, x, rows, depth, mr);
    if (depth % (2 * DS_BLOCK)) {
        block(s, x, k, w, mr, wide);
        w += p->pitch;
        k += DS_BLOCK;
    }
    for (; k != 0; k += 2 * DS_BLOCK, w += 2 * p->pitch) {
        block(s, x, k, w, mr, wide);
        block(s, x, k + DS_BLOCK, w + p->pitch, mr, wide);
    }
}

DS_INLINE void by_four(sums *s, const panel *p, const int8_t *const *rows, long depth, int mr) {
    const int8_t *x[MR], *w = p->weights;
    const uint8_t *tight = p->tight;
    long k = -depth;
    start(s, x, rows, depth, mr);
    for (; k <= -2 * DS_BLOCK; k += 2 * DS_BLOCK, w += 2 * p->pitch) {
        if (*tight++) {
            blocks(s, x, k, w, p->pitch, mr);
        } else {
            block(s, x, k, w, mr, false);
            block(s, x, k + DS_BLOCK, w + p->pitch, mr, false);
        }
    }
    if (k != 0) block(s, x, k, w, mr, false);
}

/* Four channels of two rows in one vector of codes. */
DS_INLINE void put_pair(const ds_gemm *g, const panel *p, int32x4_t a, int32x4_t b, int row, int other, int8_t *y) {
    if (g->row_bias) {
        a = vaddq_s32(a, vdupq_n_s32(g->row_bias[row]));
        b = vaddq_s32(b, vdupq_n_s32(g->row_bias[other]));
    }
    int8x8_t codes = ds_narrow8(ds_scaled(vaddq_s32(a, p->bias), p->scale), ds_scaled(vaddq_s32(b, p->bias), p->scale),
                                g->zero, g->low, g->high);
    size_t one = (size_t)row * (size_t)g->pitch + (size_t)p->channel;
    size_t two = (size_t)other * (size_t)g->pitch + (size_t)p->channel;
    if (g->addend && p->size == 4) {
        int32x2_t both = vld1_lane_s32((const int32_t *)(const void *)(g->addend + one), vdup_n_s32(0), 0);
        both = vld1_lane_s32((const int32_t *)(const void *)(g->addend + two), both, 1);
        codes = ds_add8(g, codes, vreinterpret_s8_s32(both));
    } else if (g->addend) {
        int8_t both[8] = {0};
        memcpy(both, g->addend + one, (size_t)p->size);
        memcpy(both + 4, g->addend + two, (size_t)p->size);
        codes = ds_add8(g, codes, vld1_s8(both));
    }
    if (p->size == 4) {
        vst1_lane_s32((int32_t *)(void *)(y + one), vreinterpret_s32_s8(codes), 0);
        vst1_lane_s32((int32_t *)(void *)(y + two), vreinterpret_s32_s8(codes), 1);
        return;
    }
    int8_t both[8];
    vst1_s8(both, codes);
    memcpy(y + one, both, (size_t)p->size);
    memcpy(y + two, both + 4, (size_t)p->size);
}

DS_INLINE void put_words(int8_t *y, long pitch, int32x4_t words) {
    vst1q_lane_s32((int32_t *)(void *)y, words, 0);
    vst1q_lane_s32((int32_t *)(void *)(y + pitch), words, 1);
    vst1q_lane_s32((int32_t *)(void *)(y + 2 * pitch), words, 2);
    vst1q_lane_s32((int32_t *)(void *)(y + 3 * pitch), words, 3);
}

/* Whole rows of four channels, nothing to add: the usual case. */
DS_INLINE void put_whole(const ds_gemm *g, const panel *p, const int32x4_t *v, int mr, int8_t *y) {
    int32x4_t r[MR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) r[i] = ds_scaled(vaddq_s32(v[i], p->bias), p->scale);
    int8x16_t codes = ds_narrow16(r[0], r[1], r[2], r[3], g->zero, g->low, g->high);
    put_words(y, g->pitch, vreinterpretq_s32_s8(codes));
    if (mr <= 4) return;
    y += 4 * (long)g->pitch;
    int32x2_t words = vreinterpret_s32_s8(ds_narrow8(r[4], r[5], g->zero, g->low, g->high));
    vst1_lane_s32((int32_t *)(void *)y, words, 0);
    vst1_lane_s32((int32_t *)(void *)(y + g->pitch), words, 1);
}

/* Whole rows of four channels as real numbers; `bounded` and `shifted` are constants. */
DS_INLINE void put_reals_as(const ds_gemm *g, const panel *p, const int32x4_t *v, int mr, float *y, bool bounded, bool shifted) {
    float32x4_t shift = shifted ? vld1q_f32(g->shift + p->channel) : vdupq_n_f32(0.0f);
    float32x4_t low = vdupq_n_f32(g->real_low), high = vdupq_n_f32(g->real_high);
    long pitch = g->pitch;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++, y += pitch) {
        float32x4_t real = vmulq_f32(vcvtq_f32_s32(vaddq_s32(v[i], p->bias)), p->scale);
        if (shifted) real = vaddq_f32(real, shift);
        if (bounded) real = vminq_f32(vmaxq_f32(real, low), high);
        vst1q_f32(y, real);
    }
}

DS_INLINE void put_reals(const ds_gemm *g, const panel *p, const int32x4_t *v, int mr, float *y) {
    bool bounded = g->real_low != -INFINITY || g->real_high != INFINITY;
    if (bounded && g->shift) put_reals_as(g, p, v, mr, y, true, true);
    else if (bounded) put_reals_as(g, p, v, mr, y, true, false);
    else if (g->shift) put_reals_as(g, p, v, mr, y, false, true);
    else put_reals_as(g, p, v, mr, y, false, false);
}

DS_INLINE void put(const ds_gemm *g, const panel *p, const sums *s, int first, int last, int mr, void *out) {
    int32x4_t v[MR + 1];
    int8_t *y = out;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        v[i] = vpaddq_s32(vpaddq_s32(s->of[i][0], s->of[i][1]), vpaddq_s32(s->of[i][2], s->of[i][3]));
    if (g->real && mr >= 4 && last == mr && p->size == 4 && !g->row_bias) {
        put_reals(g, p, v, mr, (float *)out + (long)first * g->pitch + p->channel);
        return;
    }
    if (g->real) {
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) ds_put_real(g, vaddq_s32(v[i], p->bias), p->channel, first + (i < last ? i : last), out);
        return;
    }
    if (mr >= 4 && last == mr && p->size == 4 && !g->row_bias && !g->addend) {
        put_whole(g, p, v, mr, y + (long)first * g->pitch + p->channel);
        return;
    }
    v[mr] = v[mr - 1];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i += 2)
        put_pair(g, p, v[i], v[i + 1], first + (i < last ? i : last), first + (i + 1 < last ? i + 1 : last), y);
}

/* How products are summed: pairs of int16, pairs of int32 where weights may be -128, or fours where they fit. */
enum { PAIRS, WIDE, TIGHT };

DS_INLINE panel panel_at(const ds_gemm *g, int channel) {
    int left = g->channels - channel;
    const uint8_t *tight = g->tight == NULL ? NULL : g->tight + channel / DS_PANEL * (g->depth / (2 * DS_BLOCK));
    return (panel){vld1q_s32(g->bias + channel), vld1q_f32(g->scale + channel), channel, left < 4 ? left : 4,
                   ds_panel(g, channel), tight, ds_pitch(g, channel)};
}

DS_INLINE void rows_at(const ds_gemm *g, const panel *p, const int8_t *const *rows, int first, int last, int mr, int way,
                       void *y) {
    sums s;
    if (way == TIGHT) by_four(&s, p, rows + first, g->depth, mr);
    else by_two(&s, p, rows + first, g->depth, mr, way == WIDE);
    put(g, p, &s, first, last, mr, y);
}

DS_INLINE void run(const ds_gemm *g, const int8_t *const *rows, int count, void *y, int mr, int way) {
    for (int channel = 0; channel < g->channels; channel += DS_PANEL) {
        panel p = panel_at(g, channel);
        int first = 0;
        for (; first + mr <= count; first += mr) rows_at(g, &p, rows, first, mr, mr, way, y);
        int left = count - first;
        if (left == 1) rows_at(g, &p, rows, first, 0, 1, way, y);
        else if (left == 4 && mr > 4) rows_at(g, &p, rows, first, 4, 4, way, y);
        else if (left && left < 4) rows_at(g, &p, rows, first, left - 1, 4, way, y);
        else if (left) rows_at(g, &p, rows, first, left - 1, mr, way, y);
    }
}

void ds_gemm_neon(const ds_gemm *g, const int8_t *const *rows, int count, void *y) {
    if (g->wide) run(g, rows, count, y, MR, WIDE);
    else if (g->tight) run(g, rows, count, y, FOURS, TIGHT);
    else run(g, rows, count, y, MR, PAIRS);
}

#else

static int32_t product(const int8_t *x, const int8_t *w, int depth, long pitch) {
    uint32_t sum = 0;
    for (int k = 0; k < depth; k++) sum += (uint32_t)((int32_t)x[k] * w[k / DS_BLOCK * pitch + k % DS_BLOCK]);
    return (int32_t)sum;
}

void ds_gemm_neon(const ds_gemm *g, const int8_t *const *rows, int count, void *y) {
    for (int row = 0; row < count; row++) {
        size_t place = (size_t)row * (size_t)g->pitch;
        for (int channel = 0; channel < g->channels; channel++) {
            const int8_t *w = ds_panel(g, channel) + channel % DS_PANEL * DS_BLOCK;
            int32_t sum = product(rows[row], w, g->depth, ds_pitch(g, channel));
            if (g->real) ((float *)y)[place + (size_t)channel] = ds_finish_real(g, sum, channel, row);
            else ((int8_t *)y)[place + (size_t)channel] = ds_finish(g, sum, channel, row, g->addend ? g->addend + place : NULL);
        }
    }
}

#endif
