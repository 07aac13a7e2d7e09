/* Denormal numbers cost some CPUs a hundred cycles each. dl_flush_denormals() makes this thread take and give 0 for them
 * until dl_restore_denormals(its result): only inside a kernel's own work, never for the caller.
 *
 * Products, batch norm and optimiser steps flush: there denormals are what is left of sums and moments that have died
 * away. Element-wise kernels keep them, as NumPy does. float64 is treated alike: nothing that a gradient check looks at
 * is below 2e-308. */
#ifndef DL_DENORMALS_H
#define DL_DENORMALS_H

#if defined(__SSE2__)
#include <xmmintrin.h>
typedef unsigned int dl_float_mode;
static inline dl_float_mode dl_flush_denormals(void) {
    const dl_float_mode before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* FTZ, DAZ */
    return before;
}
static inline void dl_restore_denormals(dl_float_mode before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
#include <stdint.h>
typedef uint64_t dl_float_mode;
static inline void dl_restore_denormals(dl_float_mode before) { __asm__ volatile("msr fpcr, %0" ::"r"(before)); }
static inline dl_float_mode dl_flush_denormals(void) {
    dl_float_mode before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    dl_restore_denormals(before | (dl_float_mode)1 << 24); /* FZ */
    return before;
}
#else
typedef int dl_float_mode;
static inline dl_float_mode dl_flush_denormals(void) { return 0; }
static inline void dl_restore_denormals(dl_float_mode before) { (void)before; }
#endif

#endif
