/* One vector of the instruction set, for the loops that GCC does not turn into vectors by itself: sums and maxima of rows,
 * a value kept beside a position. A template, like dl_math.h. */
#if DL_F64
#define INDEX int64_t /* as wide as REAL: one mask serves value and position */
#else
#define INDEX int32_t
#endif

#if defined(DL_VECTORS_64)
#define WIDE 64
#elif defined(__AVX__)
#define WIDE 32
#else
#define WIDE 16
#endif
#define V ((long)(WIDE / sizeof(REAL)))

typedef REAL S(vec) __attribute__((vector_size(WIDE), aligned(sizeof(REAL)), may_alias));
typedef INDEX S(index_vec) __attribute__((vector_size(WIDE)));
typedef uint8_t S(byte_vec) __attribute__((vector_size(WIDE / sizeof(REAL)), aligned(1), may_alias));

INLINE S(vec) S(load)(const REAL *x) { return *(const S(vec) *)x; }

INLINE double S(lanes)(S(vec) v) {
    double total = 0;
    for (long i = 0; i < V; i++) total += (double)v[i];
    return total;
}
