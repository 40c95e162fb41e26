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

static void pack(const ds_context *context, const ds_matmul_args *a, const int8_t *b, const workspace *space) {
    int depth = (a->k + 15) / 16 * 16, columns = (a->n + 3) / 4 * 4;
    const ds_gemm shape = {.weights = space->weights, .depth = depth, .channels = a->n};
    memset(space->weights, 0, (size_t)columns * (size_t)depth);
    for (int j = 0; j < columns; j++) {
        int32_t sum = 0;
        int8_t *panel = (int8_t *)ds_panel(&shape, j) + j % 4 * 16;
        long pitch = ds_pitch(&shape, j);
        for (int k = 0; k < a->k && j < a->n; k++) {
            int8_t code = b[(size_t)k * (size_t)a->b_row + (size_t)j * (size_t)a->b_column];
            panel[k / 16 * pitch + k % 16] = code;
            sum += code;
        }
        space->bias[j] = a->k * a->a_zero * a->b_zero - a->a_zero * sum;
        space->scale[j] = a->scale;
    }
    ds_gemm_order(context->level, space->weights, (size_t)columns * (size_t)depth);
}

static void product(ds_context *context, const ds_matmul_args *a, const int8_t *x, void *y, const workspace *space) {
    int depth = (a->k + 15) / 16 * 16;
    ds_gemm g = {.weights = space->weights, .bias = space->bias, .scale = space->scale, .row_bias = space->row_bias,
                 .depth = depth, .channels = a->n, .pitch = a->n, .zero = a->zero, .low = a->low, .high = a->high,
                 .wide = 1, .real = a->real, .real_low = a->real_low, .real_high = a->real_high};
    size_t size = a->real ? sizeof(float) : 1;
    for (int first = 0; first < a->m; first += DS_ROWS) {
        int count = a->m - first < DS_ROWS ? a->m - first : DS_ROWS;
        for (int i = 0; i < count; i++) {
            const int8_t *row = x + (size_t)(first + i) * (size_t)a->k;
            int32_t sum = 0;
            for (int k = 0; k < a->k; k++) sum += row[k];
            space->row_bias[i] = -a->b_zero * sum;
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
        pack(context, a, b + (size_t)i * (size_t)a->b_batch, &space);
        product(context, a, x + (size_t)i * (size_t)a->m * (size_t)a->k,
                y + (size_t)i * (size_t)a->m * (size_t)a->n * size, &space);
    }
}

void ds_matmul(ds_context *context, const void *arguments) {
    const ds_matmul_args *a = arguments;
    ds_parallel(context, a->batch, 1, batches, a);
}
