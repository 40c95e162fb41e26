/* Functions of two tensors with broadcasting, on real numbers, integers and truths; and the choice between two. */
#include "args.h"
#include "real.h"

enum { GRAIN = 1024 };

/* Python's: the sign of the divisor, as Mod without fmod has it for integers. */
DS_INLINE int64_t modulo(int64_t a, int64_t b) {
    if (b == 0 || b == -1) return 0;
    int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

DS_INLINE int64_t power(int64_t a, int64_t b) {
    uint64_t result = 1, base = (uint64_t)a;
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    for (; b; b >>= 1, base *= base)
        if (b & 1) result *= base;
    return (int64_t)result;
}

DS_INLINE float real_pair(int op, float a, float b) {
    switch (op) {
        case DS_P_ADD: return a + b;
        case DS_P_SUB: return a - b;
        case DS_P_MUL: return a * b;
        case DS_P_DIV: return a / b;
        case DS_P_MIN: return a < b || a != a ? a : b;
        case DS_P_MAX: return a > b || a != a ? a : b;
        case DS_P_PRELU: return a < 0.0f ? a * b : a;
        case DS_P_MOD: return fmodf(a, b);
        default: return powf(a, b);
    }
}

DS_INLINE int64_t integer_pair(int op, int64_t a, int64_t b) {
    switch (op) {
        case DS_P_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
        case DS_P_SUB: return (int64_t)((uint64_t)a - (uint64_t)b);
        case DS_P_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
        case DS_P_DIV: return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
        case DS_P_MIN: return a < b ? a : b;
        case DS_P_MAX: return a > b ? a : b;
        case DS_P_MOD: return modulo(a, b);
        default: return power(a, b);
    }
}

DS_INLINE ds_v4 real_pair4(int op, ds_v4 a, ds_v4 b) {
    switch (op) {
        case DS_P_ADD: return a + b;
        case DS_P_SUB: return a - b;
        case DS_P_MUL: return a * b;
        case DS_P_DIV: return a / b;
        case DS_P_MIN: return ds_min(a, b);
        case DS_P_MAX: return ds_max(a, b);
        default: return ds_select((ds_i4)(a < ds_all(0.0f)), a * b, a); /* PRelu */
    }
}

/* Whole vectors of a row, of sides that advance by 0 or 1; gives how many elements were done. */
DS_INLINE int real_vectors(int op, const float *a, const float *b, float *y, int count, int da, int db) {
    int i = 0;
    for (; i + 4 <= count; i += 4) {
        ds_v4 left = da ? ds_load(a + i) : ds_all(*a), right = db ? ds_load(b + i) : ds_all(*b);
        ds_store(y + i, real_pair4(op, left, right));
    }
    return i;
}

DS_INLINE void real_row(int op, const float *a, const float *b, float *y, int count, int da, int db) {
    int i = 0;
    if (op != DS_P_POW && op != DS_P_MOD) {
        if (da == 1 && db == 1) i = real_vectors(op, a, b, y, count, 1, 1);
        else if (da == 1 && db == 0) i = real_vectors(op, a, b, y, count, 1, 0);
        else if (da == 0 && db == 1) i = real_vectors(op, a, b, y, count, 0, 1);
    }
    for (; i < count; i++) y[i] = real_pair(op, a[i * da], b[i * db]);
}

#define COMPARE(type)                                                                              \
    for (int i = 0; i < count; i++) {                                                              \
        type l = ((const type *)a)[i * da], r = ((const type *)b)[i * db];                         \
        out[i] = op == DS_P_EQUAL ? l == r : op == DS_P_LESS ? l < r : op == DS_P_GREATER ? l > r \
                 : op == DS_P_LESSOREQUAL ? l <= r : l >= r;                                       \
    }

static void truth_row(int op, int type, const void *a, const void *b, uint8_t *out, int count, int da, int db) {
    if (op == DS_P_AND || op == DS_P_OR || op == DS_P_XOR) {
        const uint8_t *l = a, *r = b;
        for (int i = 0; i < count; i++) {
            bool one = l[i * da] != 0, other = r[i * db] != 0;
            out[i] = op == DS_P_AND ? one && other : op == DS_P_OR ? one || other : one != other;
        }
    } else if (type == DS_FLOAT32) {
        COMPARE(float)
    } else if (type == DS_INT32) {
        COMPARE(int32_t)
    } else if (type == DS_INT64) {
        COMPARE(int64_t)
    } else if (type == DS_INT8) {
        COMPARE(int8_t)
    } else {
        COMPARE(uint8_t)
    }
}

static void row_of(const ds_pairs_args *q, const void *a, const void *b, void *y, int count, int da, int db) {
    if (q->op >= DS_P_EQUAL) {
        truth_row(q->op, q->type, a, b, y, count, da, db);
    } else if (q->type == DS_INT32) {
        for (int i = 0; i < count; i++)
            ((int32_t *)y)[i] = (int32_t)integer_pair(q->op, ((const int32_t *)a)[i * da], ((const int32_t *)b)[i * db]);
    } else if (q->type == DS_INT64) {
        for (int i = 0; i < count; i++)
            ((int64_t *)y)[i] = integer_pair(q->op, ((const int64_t *)a)[i * da], ((const int64_t *)b)[i * db]);
    } else {
        switch (q->op) {
            case DS_P_ADD: real_row(DS_P_ADD, a, b, y, count, da, db); break;
            case DS_P_SUB: real_row(DS_P_SUB, a, b, y, count, da, db); break;
            case DS_P_MUL: real_row(DS_P_MUL, a, b, y, count, da, db); break;
            case DS_P_DIV: real_row(DS_P_DIV, a, b, y, count, da, db); break;
            default: real_row(q->op, a, b, y, count, da, db);
        }
    }
}

static size_t size_of(int type) {
    return type == DS_INT64 ? 8 : type == DS_FLOAT32 || type == DS_INT32 ? 4 : 1;
}

static void pairs_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_pairs_args *q = arguments;
    size_t size = size_of(q->type), made = q->op >= DS_P_EQUAL ? 1 : size;
    int last = q->rank - 1;
    for (int row = begin; row < end; row++) {
        ptrdiff_t at_a = 0, at_b = 0;
        for (int axis = last - 1, rest = row; axis >= 0; rest /= q->dims[axis--]) {
            at_a += (ptrdiff_t)(rest % q->dims[axis]) * q->a_strides[axis];
            at_b += (ptrdiff_t)(rest % q->dims[axis]) * q->b_strides[axis];
        }
        row_of(q, ds_at(context, q->a) + at_a * (ptrdiff_t)size, ds_at(context, q->b) + at_b * (ptrdiff_t)size,
               ds_at(context, q->y) + (size_t)row * (size_t)q->dims[last] * made, q->dims[last], q->a_strides[last],
               q->b_strides[last]);
    }
}

void ds_pairs(ds_context *context, const void *arguments) {
    const ds_pairs_args *q = arguments;
    int rows = 1;
    for (int axis = 0; axis + 1 < q->rank; axis++) rows *= q->dims[axis];
    if (q->dims[q->rank - 1] == 0) return;
    ds_parallel(context, rows, 1 + GRAIN / q->dims[q->rank - 1], pairs_rows, q);
}

#define CHOOSE(type)                                                                                                  \
    for (int i = 0; i < count; i++)                                                                                   \
        ((type *)(void *)y)[i] = truths[i * dc] ? ((const type *)(const void *)a)[i * da] : ((const type *)(const void *)b)[i * db]

static void where_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_where_args *q = arguments;
    int last = q->rank - 1, count = q->dims[last];
    int dc = q->c_strides[last], da = q->a_strides[last], db = q->b_strides[last];
    for (int row = begin; row < end; row++) {
        ptrdiff_t at_a = 0, at_b = 0, at_c = 0;
        for (int axis = last - 1, rest = row; axis >= 0; rest /= q->dims[axis--]) {
            at_a += (ptrdiff_t)(rest % q->dims[axis]) * q->a_strides[axis];
            at_b += (ptrdiff_t)(rest % q->dims[axis]) * q->b_strides[axis];
            at_c += (ptrdiff_t)(rest % q->dims[axis]) * q->c_strides[axis];
        }
        const uint8_t *truths = ds_at(context, q->c) + at_c;
        const uint8_t *a = ds_at(context, q->a) + at_a * q->size, *b = ds_at(context, q->b) + at_b * q->size;
        uint8_t *y = ds_at(context, q->y) + (size_t)row * (size_t)count * (size_t)q->size;
        if (q->size == 1) CHOOSE(uint8_t);
        else if (q->size == 2) CHOOSE(uint16_t);
        else if (q->size == 4) CHOOSE(uint32_t);
        else CHOOSE(uint64_t);
    }
}

/* y = c ? a : b */
void ds_where(ds_context *context, const void *arguments) {
    const ds_where_args *q = arguments;
    int rows = 1;
    for (int axis = 0; axis + 1 < q->rank; axis++) rows *= q->dims[axis];
    if (q->dims[q->rank - 1] == 0) return;
    ds_parallel(context, rows, 1 + GRAIN / q->dims[q->rank - 1], where_rows, q);
}
