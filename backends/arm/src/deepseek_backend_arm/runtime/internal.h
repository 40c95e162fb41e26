/* What kernels share. A place is a byte offset: into the constants where its lowest bit is set, else into the arena. */
#ifndef DS_INTERNAL_H
#define DS_INTERNAL_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "ds.h"

#if defined(__aarch64__) && !defined(DS_PORTABLE)
#include <arm_neon.h>
#define DS_HAS_NEON 1
#else
#define DS_HAS_NEON 0
#endif

#define DS_INLINE static inline __attribute__((always_inline))

enum { DS_NOWHERE = -2, DS_PANEL = 4, DS_BLOCK = 16, DS_ROWS = 30, DS_MOST_THREADS = 64, DS_MOST_TAPS = 256 };

typedef struct ds_pool ds_pool;

struct ds_context {
    const ds_model *model;
    uint8_t *arena, *constants, *scratch;
    size_t scratch_size; /* of each thread */
    ds_pool *pool;
    ds_level level;
    bool half; /* whether the CPU computes with float16 */
    int failure; /* why the run ended early, 0 if it did not */
    int next; /* step that runs behind this one; steps of control flow change it */
};

typedef void (*ds_task)(ds_context *, const void *arguments, int thread, int begin, int end);

/* Runs task over [0, count) in pieces that are multiples of `grain`; returns when all are done. */
void ds_parallel(ds_context *context, int count, int grain, ds_task task, const void *arguments);
int ds_threads(const ds_context *context);
ds_pool *ds_pool_open(ds_context *context, int threads);
void ds_pool_close(ds_pool *pool);

DS_INLINE uint8_t *ds_at(const ds_context *context, int32_t place) {
    return (place & 1 ? context->constants : context->arena) + (place & ~1);
}

DS_INLINE int32_t ds_clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* saturate(round_half_even(ratio) + zero); NaN gives zero. */
DS_INLINE int32_t ds_code(float ratio, int32_t zero, int32_t low, int32_t high) {
    if (!(ratio == ratio)) return ds_clamp(zero, low, high);
    float bounded = ratio < -65536.0f ? -65536.0f : ratio > 65536.0f ? 65536.0f : ratio;
    return ds_clamp((int32_t)rintf(bounded) + zero, low, high);
}

/* One matrix product of codes: rows of `depth` codes with panels of four channels. See gemm.c. */
typedef struct {
    const int8_t *weights;
    const int32_t *bias;
    const float *scale;
    const int32_t *row_bias; /* added to every channel of a row, or NULL */
    int32_t depth, channels, pitch;
    int32_t zero, low, high;
    int32_t wide; /* weights may hold -128: products of two do not fit int16 */
    bool narrow; /* eight channels at a time with sdot, not sixteen */
    bool by_dot; /* sdot where smmla could be used */
    const uint8_t *tight; /* of each panel and 32 codes of depth: whether products of four fit int16; or NULL */
    const int8_t *addend; /* rows of codes to be added to the result, or NULL */
    float own_scale, addend_scale, sum_scale;
    int32_t addend_zero, sum_zero, sum_low, sum_high;
    int32_t real; /* the result is real numbers, `pitch` of them a row: sums times `scale`, which is that of both sides */
    const float *shift; /* added to them by channel, or NULL */
    float real_low, real_high; /* bounds of theirs */
} ds_gemm;

/* Bytes from one block of a panel to the next, and the panel's first block. */
DS_INLINE long ds_pitch(const ds_gemm *g, int channel) {
    int left = (g->channels + 3) / 4 - channel / 16 * 4;
    return left < 4 ? left * 64 : 256;
}

DS_INLINE const int8_t *ds_panel(const ds_gemm *g, int channel) {
    return g->weights + (size_t)(channel / 16 * 16) * (size_t)g->depth + channel % 16 / 4 * 64;
}

void ds_gemm_neon(const ds_gemm *g, const int8_t *const *rows, int count, void *y);
void ds_gemm_dotprod(const ds_gemm *g, const int8_t *const *rows, int count, void *y);
void ds_gemm_i8mm(const ds_gemm *g, const int8_t *const *rows, int count, void *y);
/* As the level has it; rows points to `count` rows and room for DS_ROWS more pointers. y: codes, or real numbers. */
void ds_gemm_run(ds_level level, const ds_gemm *g, const int8_t **rows, int count, void *y);
/* Reorders each 64-byte block of four channels by sixteen codes from the base order to that of a level. */
void ds_gemm_order(ds_level level, int8_t *weights, size_t bytes);

#endif
