/* Product of two matrices of codes that are both computed at run time. */
#include "args.h"
#include "internal.h"

/* sum (a - za)(b - zb) = sum ab - zb sum a - za sum b + depth za zb: b is packed as weights are, and the other terms
   become the bias of a column and that of a row. */
typedef struct {
    int8_t *weights;
    int32_t *bias, *row_bias;
    float *scale;
    const int8_t **rows;
} workspace;

static size_t up(size_t size) { return (size + 63) / 64 * 64; }

static workspace workspace_of(ds_context *context, const ds_matmul_args *a, int thread) {
    uint8_t *next = context->scratch + (size_t)thread * context->scratch_size;
    size_t columns = (size_t)(a->n + 3) / 4 * 4, depth = (size_t)(a->k + 15) / 16 * 16;
    workspace space;
    space.rows = (const int8_t **)(void *)next;
    next += up((DS_ROWS + 8) * sizeof(int8_t *));
    space.weights = (int8_t *)next;
    next += up(columns * depth);
    space.bias = (int32_t *)(void *)next;
    next += up(columns * 4);
    space.scale = (float *)(void *)next;
    next += up(columns * 4);
    space.row_bias = (int32_t *)(void *)next;
    return space;
}

/* Sum of codes that lie next to each other. */
static int32_t sum_of(const int8_t *x, int count) {
    int32_t sum = 0;
    int i = 0;
#if DS_HAS_NEON
    int32x4_t sums = vdupq_n_s32(0);
    for (; i + 16 <= count; i += 16) sums = vpadalq_s16(sums, vpaddlq_s8(vld1q_s8(x + i)));
    sum = vaddvq_s32(sums);
#endif
    for (; i < count; i++) sum += x[i];
    return sum;
}

static int8_t *column_of(const ds_gemm *shape, int column) {
    return (int8_t *)ds_panel(shape, column) + column % DS_PANEL * DS_BLOCK;
}

/* A column whose codes lie next to each other. */
static int32_t put_column(const ds_gemm *shape, int column, const int8_t *x, int count) {
    int8_t *panel = column_of(shape, column);
    long pitch = ds_pitch(shape, column);
    for (int k = 0; k < count; k += DS_BLOCK, panel += pitch) memcpy(panel, x + k, (size_t)(count - k < DS_BLOCK ? count - k : DS_BLOCK));
    return sum_of(x, count);
}

#if DS_HAS_NEON
/* Sixteen columns by sixteen rows, whose rows lie next to each other: four perfect shuffles transpose them. */
static void put_square(const ds_gemm *shape, int column, int row, const int8_t *x, long x_row, int32_t *sums) {
    int8x16_t v[16], w[16];
    for (int i = 0; i < 16; i++) v[i] = vld1q_s8(x + i * x_row);
    for (int round = 0; round < 4; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            w[2 * i] = vzip1q_s8(v[i], v[i + 8]);
            w[2 * i + 1] = vzip2q_s8(v[i], v[i + 8]);
        }
        memcpy(v, w, sizeof v);
    }
    for (int i = 0; i < 16; i++) {
        vst1q_s8(column_of(shape, column + i) + row / DS_BLOCK * ds_pitch(shape, column + i), v[i]);
        sums[i] += vaddlvq_s8(v[i]);
    }
}
#endif

static void put_scattered(const ds_gemm *shape, const ds_matmul_args *a, const int8_t *b, int column, int from, int32_t *sum) {
    int8_t *panel = column_of(shape, column);
    long pitch = ds_pitch(shape, column);
    for (int k = from; k < a->k; k++) {
        int8_t code = b[(size_t)k * (size_t)a->b_row + (size_t)column * (size_t)a->b_column];
        panel[k / DS_BLOCK * pitch + k % DS_BLOCK] = code;
        *sum += code;
    }
}

/* Codes of b in the order of weights, and their sums by column. */
static void put_codes(const ds_matmul_args *a, const int8_t *b, const ds_gemm *shape, int32_t *sums) {
    int column = 0;
    if (a->b_row == 1) {
        for (; column < a->n; column++) sums[column] = put_column(shape, column, b + (size_t)column * (size_t)a->b_column, a->k);
        return;
    }
#if DS_HAS_NEON
    for (; a->b_column == 1 && column + 16 <= a->n; column += 16) {
        int row = 0;
        for (int i = 0; i < 16; i++) sums[column + i] = 0;
        for (; row + 16 <= a->k; row += 16)
            put_square(shape, column, row, b + (size_t)row * (size_t)a->b_row + (size_t)column, a->b_row, sums + column);
        for (int i = 0; i < 16; i++) put_scattered(shape, a, b, column + i, row, sums + column + i);
    }
#endif
    for (; column < a->n; column++) {
        sums[column] = 0;
        put_scattered(shape, a, b, column, 0, sums + column);
    }
}

/* Whether any of them is -128: products of two would not fit int16 then. A constant matrix is known when it is compiled. */
static bool has_least(const int8_t *codes, size_t count) {
    size_t i = 0;
#if DS_HAS_NEON
    int8x16_t least = vdupq_n_s8(0);
    for (; i + 16 <= count; i += 16) least = vminq_s8(least, vld1q_s8(codes + i));
    if (vminvq_s8(least) == -128) return true;
#endif
    for (; i < count; i++)
        if (codes[i] == -128) return true;
    return false;
}

/* Whether the packed codes are wide; see `ds_gemm`. */
static bool pack(const ds_context *context, const ds_matmul_args *a, const int8_t *b, const workspace *space) {
    int depth = (a->k + 15) / 16 * 16, columns = (a->n + 3) / 4 * 4;
    const ds_gemm shape = {.weights = space->weights, .depth = depth, .channels = a->n};
    if (depth != a->k || columns != a->n) memset(space->weights, 0, (size_t)columns * (size_t)depth);
    put_codes(a, b, &shape, space->bias);
    for (int j = 0; j < columns; j++) {
        space->bias[j] = j < a->n ? a->k * a->a_zero * a->b_zero - a->a_zero * space->bias[j] : 0;
        space->scale[j] = a->scale;
    }
    ds_gemm_order(context->level, space->weights, (size_t)columns * (size_t)depth);
    return context->level == DS_NEON && has_least(space->weights, (size_t)columns * (size_t)depth);
}

static void product(ds_context *context, const ds_matmul_args *a, const int8_t *x, void *y, const workspace *space, bool wide) {
    int depth = (a->k + 15) / 16 * 16;
    ds_gemm g = {.weights = space->weights, .bias = space->bias, .scale = space->scale, .row_bias = a->b_zero ? space->row_bias : NULL,
                 .depth = depth, .channels = a->n, .pitch = a->n, .zero = a->zero, .low = a->low, .high = a->high,
                 .wide = wide, .real = a->real, .real_low = a->real_low, .real_high = a->real_high};
    size_t size = a->real ? sizeof(float) : 1;
    for (int first = 0; first < a->m; first += DS_ROWS) {
        int count = a->m - first < DS_ROWS ? a->m - first : DS_ROWS;
        for (int i = 0; i < count; i++) {
            const int8_t *row = x + (size_t)(first + i) * (size_t)a->k;
            if (a->b_zero) space->row_bias[i] = -a->b_zero * sum_of(row, a->k);
            space->rows[i] = row; /* what it reads past the row meets weights of 0 */
        }
        ds_gemm_run(context->level, &g, space->rows, count, (uint8_t *)y + (size_t)first * (size_t)a->n * size);
    }
}

static void batches(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_matmul_args *a = arguments;
    workspace space = workspace_of(context, a, thread);
    const int8_t *x = (const int8_t *)ds_at(context, a->a), *b = (const int8_t *)ds_at(context, a->b);
    uint8_t *y = ds_at(context, a->y);
    size_t size = a->real ? sizeof(float) : 1;
    for (int i = begin; i < end; i++) {
        bool wide = pack(context, a, b + (size_t)i * (size_t)a->b_batch, &space);
        product(context, a, x + (size_t)i * (size_t)a->m * (size_t)a->k,
                y + (size_t)i * (size_t)a->m * (size_t)a->n * size, &space, wide);
    }
}

void ds_matmul(ds_context *context, const void *arguments) {
    const ds_matmul_args *a = arguments;
    ds_parallel(context, a->batch, 1, batches, a);
}
