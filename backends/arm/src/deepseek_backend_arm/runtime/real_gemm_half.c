/* Products of matrices of float16 in float16: six rows by eight columns, ARMv8.2-A with that extension. Compiled with it;
   see ds_open. Sixteen products are summed in float16, and those sums in float32: twice as many products an instruction as
   float32 has, and rounding that does not grow with the depth. */
#include "real_gemm.h"

#if DS_HAS_NEON

enum { MR = 6, LANES = 8, SUMMED = 16 };

typedef struct {
    float32x4_t of[MR][2];
} sums;

/* h + a[lane] b. GCC 12 makes two instructions of the intrinsic; lanes of half words are those of the first 16 registers. */
#define FMLA(h, b, a, lane) __asm__("fmla %0.8h, %1.8h, %2.h[" #lane "]" : "+w"(h) : "w"(b), "x"(a))

#define STEP(lane)                                                                     \
    do {                                                                               \
        float16x8_t b = vld1q_f16(panel);                                              \
        panel += DS_COLUMNS;                                                           \
        _Pragma("GCC unroll 8") for (int i = 0; i < mr; i++) FMLA(h[i], b, a[i], lane); \
    } while (0)

DS_INLINE const float16_t *eight(float16x8_t *h, const float16_t *const *x, int k, const float16_t *panel, int mr) {
    float16x8_t a[MR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) a[i] = vld1q_f16(x[i] + k);
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
    STEP(4);
    STEP(5);
    STEP(6);
    STEP(7);
    return panel;
}

DS_INLINE void add(sums *s, float16x8_t *h, int mr) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        s->of[i][0] = vaddq_f32(s->of[i][0], vcvt_f32_f16(vget_low_f16(h[i])));
        s->of[i][1] = vaddq_f32(s->of[i][1], vcvt_high_f32_f16(h[i]));
        h[i] = vdupq_n_f16(0);
    }
}

DS_INLINE void put(const ds_rgemm *g, const sums *s, int column, int mr, int last, float *y) {
    ds_v4 low = ds_all(g->low), high = ds_all(g->high);
    int left = g->columns - column < DS_COLUMNS ? g->columns - column : DS_COLUMNS;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        if (i > last) break;
#pragma GCC unroll 2
        for (int p = 0; p < 2; p++) {
            int here = left - 4 * p < 4 ? left - 4 * p : 4;
            if (here <= 0) break;
            ds_v4 v = s->of[i][p];
            if (g->bias) v += ds_load_few(g->bias + column + 4 * p, here);
            v = ds_min(ds_max(v, low), high);
            float *out = y + (long)i * g->pitch + column + 4 * p;
            if (here == 4) ds_store(out, v);
            else ds_store_few(out, v, here);
        }
    }
}

/* `mr` rows of which those up to `last` exist. */
DS_INLINE void tile(const ds_rgemm *g, const float16_t *panel, const float16_t *rows, long pitch, int column, int mr, int last,
                    float *y) {
    sums s;
    float16x8_t h[MR];
    const float16_t *x[MR];
    int k = 0;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        x[i] = rows + (i < last ? i : last) * pitch;
        s.of[i][0] = s.of[i][1] = vdupq_n_f32(0.0f);
        h[i] = vdupq_n_f16(0);
    }
    for (; k + SUMMED <= g->depth; k += SUMMED) {
        panel = eight(h, x, k, panel, mr);
        panel = eight(h, x, k + LANES, panel, mr);
        add(&s, h, mr);
    }
    for (; k < g->depth; k++, panel += DS_COLUMNS) {
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) h[i] = vfmaq_n_f16(h[i], vld1q_f16(panel), x[i][k]);
    }
    add(&s, h, mr);
    put(g, &s, column, mr, last, y);
}

void ds_rgemm_half(const ds_rgemm *g, const float *const *rows, int count, float *y) {
    float16_t *halves = (float16_t *)(void *)g->space;
    long pitch = g->depth;
    for (int i = 0; i < count; i++) {
        int k = 0;
        for (; k + 4 <= g->depth; k += 4) vst1_f16(halves + i * pitch + k, vcvt_f16_f32(vld1q_f32(rows[i] + k)));
        for (; k < g->depth; k++) halves[i * pitch + k] = (float16_t)rows[i][k];
    }
    for (int column = 0; column < g->columns; column += DS_COLUMNS) {
        const float16_t *panel = (const float16_t *)g->b + (long)(column / DS_COLUMNS) * g->b_panel;
        for (int first = 0; first < count; first += MR) {
            int left = count - first;
            float *out = y + first * g->pitch;
            if (left == 1) tile(g, panel, halves + first * pitch, pitch, column, 1, 0, out);
            else tile(g, panel, halves + first * pitch, pitch, column, MR, (left < MR ? left : MR) - 1, out);
        }
    }
}

#endif
