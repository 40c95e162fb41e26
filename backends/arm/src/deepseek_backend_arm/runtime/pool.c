/* Threads that wait for work: opened once, they share the pieces of a step among them. */
#include "internal.h"

#include <pthread.h>
#include <stdlib.h>

struct ds_pool {
    pthread_mutex_t lock;
    pthread_cond_t ready, done;
    pthread_t workers[DS_MOST_THREADS];
    struct start {
        ds_context *context;
        int thread;
    } starts[DS_MOST_THREADS];
    int threads, working, generation;
    bool closing;
    ds_task task;
    const void *arguments;
    int count, grain;
};

static void share(ds_context *context, const ds_pool *pool, int thread) {
    int pieces = (pool->count + pool->grain - 1) / pool->grain;
    int first = (int)((int64_t)pieces * thread / pool->threads), last = (int)((int64_t)pieces * (thread + 1) / pool->threads);
    int begin = first * pool->grain, end = last * pool->grain;
    if (end > pool->count) end = pool->count;
    if (begin < end) pool->task(context, pool->arguments, thread, begin, end);
}

static void *work(void *argument) {
    struct start *start = argument;
    ds_pool *pool = start->context->pool;
    int seen = 0;
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        while (pool->generation == seen && !pool->closing) pthread_cond_wait(&pool->ready, &pool->lock);
        bool closing = pool->closing;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->lock);
        if (closing) return NULL;
        share(start->context, pool, start->thread);
        pthread_mutex_lock(&pool->lock);
        if (--pool->working == 0) pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

void ds_parallel(ds_context *context, int count, int grain, ds_task task, const void *arguments) {
    ds_pool *pool = context->pool;
    if (pool == NULL || count <= grain) {
        if (count > 0) task(context, arguments, 0, 0, count);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->arguments = arguments;
    pool->count = count;
    pool->grain = grain;
    pool->working = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    share(context, pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->working) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

int ds_threads(const ds_context *context) { return context->pool == NULL ? 1 : context->pool->threads; }

ds_pool *ds_pool_open(ds_context *context, int threads) {
    ds_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->ready, NULL);
    pthread_cond_init(&pool->done, NULL);
    context->pool = pool;
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        struct start *start = &pool->starts[pool->threads];
        *start = (struct start){context, pool->threads};
        if (pthread_create(&pool->workers[pool->threads], NULL, work, start) != 0) {
            ds_pool_close(pool);
            return context->pool = NULL;
        }
    }
    return pool;
}

void ds_pool_close(ds_pool *pool) {
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->ready);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
