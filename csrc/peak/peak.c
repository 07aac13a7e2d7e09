#include "dl_peak.h"

#include <string.h>

#include "dl_threads.h"

static const struct dl_peak *best(void) {
#if defined(DL_WITH_X86_ISAS)
    if (dl_isa_cpu() == DL_ISA_AVX512) return &dl_peak_avx512;
    if (dl_isa_cpu() == DL_ISA_AVX2) return &dl_peak_avx2;
#endif
    return &dl_peak_baseline;
}

struct job {
    const struct dl_peak *peak;
    char *to;
    const char *from;
    ptrdiff_t n, rounds;
    int team;
    float kept; /* so that no compiler may leave the work out */
};

static void multiply_adds(void *job, int id, int of) {
    struct job *j = job;
    float result = j->peak->multiply_adds(j->rounds);
    if (id == 0) {
        j->kept = result;
        j->team = of;
    }
}

double dl_peak_multiply_adds(int threads, ptrdiff_t rounds) {
    struct job j = {.peak = best(), .rounds = rounds};
    dl_parallel(threads, multiply_adds, &j);
    return j.kept > 0 ? j.peak->flops * (double)rounds * j.team : 0;
}

static void copy(void *job, int id, int of) {
    struct job *j = job;
    const ptrdiff_t begin = j->n * id / of, end = j->n * (id + 1) / of;
    for (ptrdiff_t i = 0; i < j->rounds; i++) memcpy(j->to + begin, j->from + begin, (size_t)(end - begin));
}

void dl_peak_copy(int threads, char *to, const char *from, ptrdiff_t n, ptrdiff_t rounds) {
    struct job j = {.to = to, .from = from, .n = n, .rounds = rounds};
    dl_parallel(threads, copy, &j);
}
