/* The only place that knows OpenMP, so that a build without it works on one thread. */
#ifndef DL_THREADS_H
#define DL_THREADS_H
#include <stddef.h>

#include "dl_denormals.h"
#ifdef _OPENMP
#include <omp.h>
#define DL_PRAGMA(x) _Pragma(#x)
static inline int dl_thread_id(void) { return omp_get_thread_num(); }
static inline int dl_max_threads(void) { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
static inline void dl_set_threads(int n) { omp_set_num_threads(n); }
static inline int dl_has_openmp(void) { return 1; }
#else
static inline int dl_thread_id(void) { return 0; }
static inline int dl_max_threads(void) { return 1; }
static inline void dl_set_threads(int n) { (void)n; }
static inline int dl_has_openmp(void) { return 0; }
#endif

/* Tasks are handed out one by one: a core that others use gets fewer. Which thread ran one changes no result. */
static inline ptrdiff_t dl_next(ptrdiff_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

static inline void dl_run_flushed(void (*body)(void *, int, int), void *arg, int id, int n) {
    const dl_float_mode before = dl_flush_denormals();
    body(arg, id, n);
    dl_restore_denormals(before);
}

/* body(arg, id, n) on n <= threads threads, id = 0 ... n-1; on the caller's alone when threads <= 1. Denormals are 0. */
static inline void dl_parallel(int threads, void (*body)(void *, int, int), void *arg) {
#ifdef _OPENMP
    if (threads > 1) {
        DL_PRAGMA(omp parallel num_threads(threads))
        dl_run_flushed(body, arg, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    (void)threads;
    dl_run_flushed(body, arg, 0, 1);
}
#endif
