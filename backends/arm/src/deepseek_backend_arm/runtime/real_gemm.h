/* Products of matrices of real numbers. */
#ifndef DS_REAL_GEMM_H
#define DS_REAL_GEMM_H

#include "real.h"

enum { DS_COLUMNS = 8 };

/* How the right side is kept: real numbers, or what becomes real numbers panel by panel. */
typedef enum { DS_B_REAL, DS_B_HALF, DS_B_BYTES, DS_B_NIBBLES } ds_kept;

/* rows [count][depth] times b [depth][columns]. Panels of eight columns follow each other; a row of a panel is `b_row`
   elements behind the row before it, and the next panel `b_panel`. Packed panels are [depth][8]. */
typedef struct {
    const void *b;
    long b_row, b_panel;
    ds_kept kept;
    const float *scale; /* bytes and nibbles: of each block of depth and column, [blocks][columns up to whole panels] */
    const float *zero;  /* code of 0 likewise, or NULL */
    int block;          /* products of depth that share a scale */
    float *space;       /* [depth][8], for what is not kept as real numbers */
    const float *bias;  /* by column, or NULL */
    float low, high;
    int depth, columns;
    long pitch; /* elements from one row of the result to the next */
} ds_rgemm;

void ds_rgemm_run(const ds_rgemm *g, const float *const *rows, int count, float *y);

#endif
