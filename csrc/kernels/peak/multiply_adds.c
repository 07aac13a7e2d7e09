/* As many multiply-adds as the CPU can do in single precision. */
#include "dl_compiler.h"
#include "dl_peak.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));
enum { CHAINS = 12 }; /* two units with a latency of 4 or 5 need 8 to 10; 12 and two constants fit 16 registers */

static float multiply_adds(ptrdiff_t rounds) {
    vector acc[CHAINS], factor = {0}, term = {0}, sum = {0};
    float result = 0;
    factor += 0.5f;
    term += 1.0f; /* acc tends to 2: no overflow, no denormal numbers */
    UNROLL for (int c = 0; c < CHAINS; c++) acc[c] = term * (float)c;
    for (ptrdiff_t i = 0; i < rounds; i++) {
        UNROLL for (int c = 0; c < CHAINS; c++) acc[c] = acc[c] * factor + term;
    }
    UNROLL for (int c = 0; c < CHAINS; c++) sum += acc[c];
    for (int lane = 0; lane < VECTOR_BYTES / 4; lane++) result += sum[lane];
    return result;
}

const struct dl_peak DL_NAME(dl_peak) = {.flops = 2.0 * CHAINS * VECTOR_BYTES / 4, .multiply_adds = multiply_adds};
