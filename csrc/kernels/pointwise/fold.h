/* Work on the columns of x [m, c] where c may be small: k rows side by side make one row of f = k c, which fills whole
 * vectors. [m, c] is [m / k, f] in memory, with m % k rows left over. A template, like dl_math.h. */

/* columns summed in registers: four 256-bit vectors */
#define DL_LANES ((long)(128 / sizeof(REAL)))
#define DL_DEPTH 32 /* rows summed in REAL before the sum moves on to double */

static inline long S(fold)(long c) {
    long k = 1;
    if (c < DL_LANES * 8)
        while (k * c % DL_LANES != 0) k *= 2;
    if (k * c > 1024) k = 1;
    while (k * c < DL_LANES * 2) k *= 2;
    return k;
}

/* Into how many partial sums m rows of f columns are cut: depends on the size alone. */
static inline long S(parts)(long m, long f) { return dl_max(1, dl_min(dl_min(32, m * f / 16384), m / DL_DEPTH)); }

/* Part i of `parts` of m rows begins here. */
static inline long S(part_row)(long m, long parts, long i) {
    return i == parts ? m : m / DL_DEPTH * i / parts * DL_DEPTH;
}
