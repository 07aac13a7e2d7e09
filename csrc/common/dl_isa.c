#include "dl_isa.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"baseline", "avx2", "avx512"};

const char *dl_isa_name(enum dl_isa isa) { return names[isa]; }

enum dl_isa dl_isa_cpu(void) {
#if defined(DL_WITH_X86_ISAS)
    __builtin_cpu_init();
#if defined(DL_WIDE)
    if (__builtin_cpu_supports("avx2")) return DL_ISA_AVX512;
#endif
    /* The flags each kernel object is compiled with (setup.py: -march=x86-64-v3 and -v4). */
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return DL_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return DL_ISA_AVX2;
#endif
    return DL_ISA_BASELINE;
}

static int requested(void) {
    const char *asked = getenv("DLKIT_ISA");
    if (asked == NULL || *asked == '\0') return -1;
    for (int i = 0; i < 3; i++)
        if (strcmp(asked, names[i]) == 0) return i;
    return -2;
}

enum dl_isa dl_isa_choice(void) {
    static int chosen = -1;
    if (chosen < 0) {
        int cpu = (int)dl_isa_cpu(), asked = requested();
        chosen = asked >= 0 && asked <= cpu ? asked : cpu;
    }
    return (enum dl_isa)chosen;
}

const char *dl_isa_request_error(void) {
    int asked = requested();
    if (asked == -2) return "DLKIT_ISA is not one of baseline, avx2, avx512";
    if (asked > (int)dl_isa_cpu()) return "DLKIT_ISA asks for instructions that this CPU or build does not have";
    return NULL;
}
