/* How work is split over threads, the same way for every kernel here. */
#ifndef DL_SPLIT_H
#define DL_SPLIT_H

#include "dl_threads.h"

#define DL_SERIAL 32768 /* elements; below it waking the other threads costs more than they save */

static inline long dl_min(long a, long b) { return a < b ? a : b; }
static inline long dl_max(long a, long b) { return a > b ? a : b; }

static inline int dl_worth_threads(long elements) { return elements >= DL_SERIAL && dl_max_threads() > 1; }

/* Runs the last argument for ranges lo..hi that cover 0..n; all but the last begin and end at a multiple of `unit`, so that which
 * elements stand in a vector loop's scalar tail depends on n alone. */
#define DL_SPLIT(n, unit, elements, ...)                                         \
    do {                                                                         \
        const long n_ = (n), unit_ = (unit);                                     \
        if (!dl_worth_threads(elements)) {                                       \
            const long lo = 0, hi = n_;                                          \
            __VA_ARGS__;                                                                \
        } else {                                                                 \
            _Pragma("omp parallel") {                                            \
                const long id_ = dl_thread_id(), of_ = dl_team();                \
                const long units_ = (n_ + unit_ - 1) / unit_;                    \
                const long lo = units_ * id_ / of_ * unit_;                      \
                const long hi = dl_min(n_, units_ * (id_ + 1) / of_ * unit_);    \
                if (lo < hi) {                                                   \
                    __VA_ARGS__;                                                        \
                }                                                                \
            }                                                                    \
        }                                                                        \
    } while (0)

/* The same where denormals are 0. */
#define DL_SPLIT_FLUSHED(n, unit, elements, ...)                 \
    DL_SPLIT(n, unit, elements, {                                \
        const dl_float_mode before_ = dl_flush_denormals();      \
        __VA_ARGS__;                                             \
        dl_restore_denormals(before_);                           \
    })

#ifdef _OPENMP
static inline long dl_team(void) { return omp_get_num_threads(); }
#else
static inline long dl_team(void) { return 1; }
#endif

#endif
