/* Products of matrices of real numbers. */
#ifndef DS_REAL_GEMM_H
#define DS_REAL_GEMM_H

#include "real.h"

enum { DS_COLUMNS = 8 };

/* How the right side is kept: real numbers, or what becomes real numbers panel by panel; the last is float16 whose products
   may be summed as such. */
typedef enum { DS_B_REAL, DS_B_HALF, DS_B_BYTES, DS_B_NIBBLES, DS_B_HALF_SUMS } ds_kept;

/* The same as this CPU has it. */
DS_INLINE ds_kept ds_kept_here(const ds_context *context, int32_t kept) {
    return kept == DS_B_HALF_SUMS && !context->half ? DS_B_HALF : (ds_kept)kept;
}

/* rows [count][depth] times b [depth][columns]. Panels of eight columns follow each other; a row of a panel is `b_row`
   elements behind the row before it, and the next panel `b_panel`. Packed panels are [depth][8]. */
typedef struct {
    const void *b;
    long b_row, b_panel;
    ds_kept kept;
    const float *scale; /* bytes and nibbles: of each block of depth and column, [blocks][columns up to whole panels] */
    const float *zero;  /* code of 0 likewise, or NULL */
    int block;          /* products of depth that share a scale */
    float *space;       /* [depth][8], for what is not kept as real numbers; or DS_ROWS rows of float16 */
    const float *bias;  /* by column, or NULL */
    float low, high;
    int depth, columns;
    long pitch; /* elements from one row of the result to the next */
} ds_rgemm;

void ds_rgemm_run(const ds_rgemm *g, const float *const *rows, int count, float *y);
/* With a right side of float16, and rows that are float16 as well; where the CPU computes with it. */
void ds_rgemm_half(const ds_rgemm *g, const float *const *rows, int count, float *y);

#endif
