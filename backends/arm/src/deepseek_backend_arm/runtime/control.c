/* Control flow: steps that say which step is next, and what loops keep of each trip. */
#include "args.h"
#include "internal.h"

/* Passes over `count` steps unless the condition holds. */
void ds_branch(ds_context *context, const void *arguments) {
    const ds_branch_args *a = arguments;
    if (!*ds_at(context, a->c)) context->next += a->count;
}

/* Passes over `count` steps; goes back over them where it is below 0. */
void ds_jump(ds_context *context, const void *arguments) {
    const ds_jump_args *a = arguments;
    context->next += a->count;
}

/* Ends the run: what was asked for cannot be computed. */
void ds_fail(ds_context *context, const void *arguments) {
    const ds_fail_args *a = arguments;
    context->failure = a->code;
    context->next = context->model->steps_count;
}

static int64_t number_at(const ds_context *context, int32_t place) {
    int64_t number;
    memcpy(&number, ds_at(context, place), sizeof number);
    return number;
}

/* Head of a loop: counts trips from -1 on, and leaves where the limit is reached or the condition does not hold. */
void ds_trip(ds_context *context, const void *arguments) {
    const ds_trip_args *a = arguments;
    int64_t trip = number_at(context, a->y) + 1;
    memcpy(ds_at(context, a->y), &trip, sizeof trip);
    bool goes = a->limit == DS_NOWHERE || trip < number_at(context, a->limit);
    if (a->c != DS_NOWHERE && !*ds_at(context, a->c)) goes = false;
    if (!goes) context->next += a->count;
}

/* The slice of a trip: x [outer, axis, inner] → y [outer, inner], or the other way round. */
void ds_slot(ds_context *context, const void *arguments) {
    const ds_slot_args *a = arguments;
    int64_t trip = number_at(context, a->trip);
    if (trip < 0 || trip >= a->axis) return;
    size_t bytes = (size_t)a->inner * (size_t)a->size, at = (size_t)(a->reverse ? a->axis - 1 - trip : trip);
    for (int o = 0; o < a->outer; o++) {
        size_t whole = ((size_t)o * (size_t)a->axis + at) * bytes, slice = (size_t)o * bytes;
        memcpy(ds_at(context, a->y) + (a->puts ? whole : slice), ds_at(context, a->x) + (a->puts ? slice : whole), bytes);
    }
}
