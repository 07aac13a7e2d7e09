/* The machine's limits, for `dlkit bench`: multiply-adds that never leave the registers, and copies. */
#ifndef DL_PEAK_H
#define DL_PEAK_H
#include <stddef.h>
#include "dl_isa.h"

struct dl_peak {
    double flops; /* of one round: a multiply-add counts as two */
    float (*multiply_adds)(ptrdiff_t rounds);
};
#define DL_DECLARE_PEAK(isa) extern const struct dl_peak dl_peak_##isa;
DL_FOR_EACH_ISA(DL_DECLARE_PEAK)
#undef DL_DECLARE_PEAK

/* Each of `threads` threads runs `rounds` rounds with the CPU's best instructions, whatever DLKIT_ISA says; the floating-point
 * operations of all of them together. */
double dl_peak_multiply_adds(int threads, ptrdiff_t rounds);

/* Copies n bytes `rounds` times, every thread a part of its own. */
void dl_peak_copy(int threads, char *to, const char *from, ptrdiff_t n, ptrdiff_t rounds);

#endif
