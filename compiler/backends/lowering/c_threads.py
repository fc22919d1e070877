"""C around the steps that several threads share: where they meet, and the loop that each of them runs."""

from __future__ import annotations

MEETING = """
#include <pthread.h>
#include <sched.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#define FUTEX(gate, operation, value) syscall(SYS_futex, &(gate)->round, operation, value, 0, 0, 0)
#else
#define FUTEX(gate, operation, value) sched_yield()
#endif

/* Where threads wait for each other: for 1,000 looks, then for 1,000 in which others may have the core, perhaps whoever
is waited for, then asleep. */
typedef struct {
    int threads, asleep;
    int arrived __attribute__((aligned(64)));
    int round __attribute__((aligned(64)));
} Gate;

static void meet(Gate *const gate) {
    const int round = __atomic_load_n(&gate->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&gate->arrived, 1, __ATOMIC_ACQ_REL) == gate->threads) {
        __atomic_store_n(&gate->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&gate->round, round + 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&gate->asleep, __ATOMIC_SEQ_CST)) FUTEX(gate, FUTEX_WAKE_PRIVATE, INT32_MAX);
        return;
    }
    for (long look = 0; look < 2000; look++) {
        if (__atomic_load_n(&gate->round, __ATOMIC_ACQUIRE) != round) return;
        if (look >= 1000) sched_yield();
    }
    __atomic_add_fetch(&gate->asleep, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&gate->round, __ATOMIC_SEQ_CST) == round) FUTEX(gate, FUTEX_WAIT_PRIVATE, round);
    __atomic_sub_fetch(&gate->asleep, 1, __ATOMIC_SEQ_CST);
}
"""

SHARE = """
/* What one thread does of a step. */
static void share_GROUP(const Call *const c, const long t, const int late, Gate *const gate) {
LOCALS
LINES
}
"""

THREADS = """
static void (*const shares_GROUP[])(const Call *, long, int, Gate *) = {STEPS};

typedef struct {
    const Call *c;
    Gate *gate;
    long number, last, start, stop;
    int pending;
} Work_GROUP;

/* Whether something is recorded of which threads have not computed their own parts. */
static int joint_GROUP(const Call *const c, const long t) {
    for (long p = 0; p < c->n_pieces; p++)
        if (c->pieces[5 * p + 4] != 2 && c->positions[t * c->streams + c->pieces[5 * p]] >= 0) return 1;
    return 0;
}

/* One thread's steps; the first one also applies what is pending behind a step. */
static void *work_GROUP(void *const given) {
    const Work_GROUP *const w = given;
    const Call *const c = w->c;
    int pending = w->pending;
    meet(w->gate);
    if (w->gate->threads != THREADS) return 0;
    for (long t = w->start; t < w->stop; t++) {
        const int due = weights_due(c, t), flush = due || t + 1 == w->stop;
        shares_GROUP[w->number](c, t, pending, w->gate);
        if (flush && w->last < ROWS) {
            meet(w->gate);
            for (long i = w->last; w->number == 0 && i < ROWS; i++) operation_GROUP(c, i, t, !due);
            meet(w->gate);
        } else if (joint_GROUP(c, t)) {
            meet(w->gate);
        }
        record_part(c, t, w->number, THREADS);
        meet(w->gate);
        pending = !flush;
    }
    return 0;
}

/* Steps start..stop, shared by threads that live as long as the call. Returns whether there were not enough. */
int run_GROUP(const Call *const c, const long first, const long last, const long start, const long stop, int pending,
              const int whole) {
    Gate gate = {.threads = THREADS};
    Work_GROUP works[THREADS];
    pthread_t threads[THREADS];
    long count = 1;
    for (long i = 0; i < THREADS; i++) works[i] = (Work_GROUP){c, &gate, i, last, start, stop, pending};
    while (count < THREADS && !pthread_create(&threads[count], 0, work_GROUP, &works[count])) count++;
    if (count < THREADS) __atomic_store_n(&gate.threads, (int)count, __ATOMIC_RELEASE);
    work_GROUP(&works[0]);
    for (long i = 1; i < count; i++) pthread_join(threads[i], 0);
    return count < THREADS;
}
"""
