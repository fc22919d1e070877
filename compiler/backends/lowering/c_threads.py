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

/* Thread `number` of several keeps to its share of the cores, the first one to that in which `here` is: as they often
wait for each other, a system may leave them on one. `before`: cores that it could use. Returns whether it does so. */
#ifdef __linux__
typedef cpu_set_t Cores;
static int keep_to_share(const int number, const int threads, const int here, Cores *const before) {
    Cores share;
    CPU_ZERO(&share);
    if (pthread_getaffinity_np(pthread_self(), sizeof *before, before) || CPU_COUNT(before) < threads) return 0;
    int seen = 0, home = 0;
    for (int core = 0; core < here; core++) home += CPU_ISSET(core, before) != 0;
    const int count = CPU_COUNT(before), own = (home * threads / count + number) % threads;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, before) && seen++ * threads / count == own) CPU_SET(core, &share);
    return !pthread_setaffinity_np(pthread_self(), sizeof share, &share);
}
#define RETURN_TO(cores) pthread_setaffinity_np(pthread_self(), sizeof *(cores), cores)
#else
typedef int Cores;
#define sched_getcpu() 0
#define keep_to_share(number, threads, here, before) 0
#define RETURN_TO(cores) 0
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
    int pending, here;
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
    Cores before;
    const int kept = keep_to_share(w->number, THREADS, w->here, &before);
    meet(w->gate);
    for (long t = w->start; t < w->stop && w->gate->threads == THREADS; t++) {
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
    if (kept) RETURN_TO(&before);
    return 0;
}

/* Steps start..stop, shared by threads that live as long as the call. Returns whether there were not enough. */
int run_GROUP(const Call *const c, const long first, const long last, const long start, const long stop, int pending,
              const int whole) {
    Gate gate = {.threads = THREADS};
    Work_GROUP works[THREADS];
    pthread_t threads[THREADS];
    long count = 1;
    const int here = sched_getcpu();
    for (long i = 0; i < THREADS; i++) works[i] = (Work_GROUP){c, &gate, i, last, start, stop, pending, here};
    while (count < THREADS && !pthread_create(&threads[count], 0, work_GROUP, &works[count])) count++;
    if (count < THREADS) __atomic_store_n(&gate.threads, (int)count, __ATOMIC_RELEASE);
    work_GROUP(&works[0]);
    for (long i = 1; i < count; i++) pthread_join(threads[i], 0);
    return count < THREADS;
}
"""
