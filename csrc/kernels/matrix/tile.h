/* Included once for each number type: REAL, INT (an integer of its size), ID(name) = name_<type>. */
#define VL (VECTOR_BYTES / (int)sizeof(REAL))
#define VEC ID(vec)
#define VECU ID(vecu)
#define MASK ID(mask)
typedef REAL VEC __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL VECU __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias)); /* in memory */
typedef INT MASK __attribute__((vector_size(VECTOR_BYTES)));
#define QUAD ID(quad)
#define QUADU ID(quadu)
typedef REAL QUAD __attribute__((vector_size(4 * sizeof(REAL))));
typedef REAL QUADU __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef INT ID(quad_numbers) __attribute__((vector_size(4 * sizeof(REAL))));
typedef struct DL_PASTE(dl_tile, T) ID(job);

INLINE VEC ID(broadcast)(REAL s) { /* written out, because the compilers fold this form into the FMA */
#if VECTOR_BYTES == 64 && MANTISSA == 23
    return (VEC){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
#elif VECTOR_BYTES == 64 || (VECTOR_BYTES == 32 && MANTISSA == 23)
    return (VEC){s, s, s, s, s, s, s, s};
#elif VECTOR_BYTES == 32 || MANTISSA == 23
    return (VEC){s, s, s, s};
#else
    return (VEC){s, s};
#endif
}

INLINE VEC ID(load)(const REAL *x) { return *(const VECU *)x; }
INLINE void ID(store)(REAL *y, VEC x) { *(VECU *)y = x; }

/* The first n numbers, 0 <= n < VL: nothing beyond them is touched. */
#if defined(__AVX2__) && !defined(DL_WIDE)
#define LANES ID(lanes)
#if defined(__AVX512F__)
#define LANES_OF(n) ((1u << (n)) - 1)
#else
static const INT ID(lane_table)[2 * VECTOR_BYTES / sizeof(REAL)] = {
    -1, -1, -1, -1,
#if MANTISSA == 23
    -1, -1, -1, -1,
#endif
};
#define LANES_OF(n) _mm256_loadu_si256((const __m256i *)(ID(lane_table) + VL - (n)))
#endif
#endif

#if defined(__AVX512F__) && MANTISSA == 23
INLINE VEC ID(load_part)(const REAL *x, int n) { return (VEC)_mm512_maskz_loadu_ps((__mmask16)LANES_OF(n), x); }
INLINE void ID(store_part)(REAL *y, VEC x, int n) { _mm512_mask_storeu_ps(y, (__mmask16)LANES_OF(n), (__m512)x); }
#elif defined(__AVX512F__)
INLINE VEC ID(load_part)(const REAL *x, int n) { return (VEC)_mm512_maskz_loadu_pd((__mmask8)LANES_OF(n), x); }
INLINE void ID(store_part)(REAL *y, VEC x, int n) { _mm512_mask_storeu_pd(y, (__mmask8)LANES_OF(n), (__m512d)x); }
#elif defined(__AVX2__) && !defined(DL_WIDE) && MANTISSA == 23
INLINE VEC ID(load_part)(const REAL *x, int n) { return (VEC)_mm256_maskload_ps(x, LANES_OF(n)); }
INLINE void ID(store_part)(REAL *y, VEC x, int n) { _mm256_maskstore_ps(y, LANES_OF(n), (__m256)x); }
#elif defined(__AVX2__) && !defined(DL_WIDE)
INLINE VEC ID(load_part)(const REAL *x, int n) { return (VEC)_mm256_maskload_pd(x, LANES_OF(n)); }
INLINE void ID(store_part)(REAL *y, VEC x, int n) { _mm256_maskstore_pd(y, LANES_OF(n), (__m256d)x); }
#else
INLINE VEC ID(load_part)(const REAL *x, int n) {
    VEC v = {0};
    UNROLL for (int i = 0; i < VL; i++) if (i < n) v[i] = x[i];
    return v;
}
INLINE void ID(store_part)(REAL *y, VEC x, int n) {
    UNROLL for (int i = 0; i < VL; i++) if (i < n) y[i] = x[i];
}
#endif
#undef LANES
#undef LANES_OF

/* Written once; `kind`, P and V are constants wherever it is inlined. */
INLINE void ID(tile)(const ID(job) *j, const REAL *a0, REAL *y, const int kind, const int P, const int V) {
    const int part = kind == LANE_PART, lane = kind == LANE || kind == LANE_PART;
    const ptrdiff_t pix = kind == OUTER ? 1 : j->pix;
    const ptrdiff_t step = kind == ROW ? 1 : j->step, b_step = lane ? j->b_step : V * VL;
    const ptrdiff_t run = j->run, n_seg = run > 0 ? j->n_seg : 0;
    const ptrdiff_t y_pix = j->y_pix;
    const int rest = (int)j->columns - (V - 1) * VL;
    VEC acc[POINTS_1 > VECTORS * POINTS_V ? POINTS_1 : VECTORS * POINTS_V];
    UNROLL for (int i = 0; i < P * V; i++) acc[i] = (VEC){0};
    for (ptrdiff_t s = 0; s < n_seg; s++) {
        const REAL *a = a0 + j->seg_a[s], *a2 = a + GROUP * pix, *b = j->b + j->seg_b[s];
        ptrdiff_t t = run;
        do {
            VEC w[VECTORS];
            UNROLL for (int v = 0; v < V; v++)
                w[v] = part && v == V - 1 ? ID(load_part)(b + v * VL, rest) : ID(load)(b + v * VL);
            UNROLL for (int p = 0; p < P; p++) {
                const REAL *at = p < GROUP ? a + p * pix : a2 + (p - GROUP) * pix;
                if (lane) {
                    UNROLL for (int v = 0; v < V; v++)
                        acc[p * V + v] += w[v] * (part && v == V - 1 ? ID(load_part)(at + v * VL, rest) : ID(load)(at + v * VL));
                } else {
                    VEC x = ID(broadcast)(*at);
                    UNROLL for (int v = 0; v < V; v++) acc[p * V + v] += x * w[v];
                }
            }
            a += step;
            a2 += step;
            b += b_step;
        } while (--t);
    }
    if (j->bias)
        UNROLL for (int v = 0; v < V; v++) {
            VEC w = ID(load)(j->bias + v * VL);
            UNROLL for (int p = 0; p < P; p++) acc[p * V + v] += w;
        }
    if (j->accumulate)
        UNROLL for (int p = 0; p < P; p++)
            UNROLL for (int v = 0; v < V; v++)
                acc[p * V + v] += v == V - 1 && rest < VL ? ID(load_part)(y + p * y_pix + v * VL, rest)
                                                          : ID(load)(y + p * y_pix + v * VL);
    if (j->relu) /* NaN stays NaN */
        UNROLL for (int i = 0; i < P * V; i++) acc[i] = (VEC)((MASK)acc[i] & ~(MASK)(acc[i] <= (VEC){0}));
    if (rest < VL) {
        UNROLL for (int p = 0; p < P; p++) {
            UNROLL for (int v = 0; v < V - 1; v++) ID(store)(y + p * y_pix + v * VL, acc[p * V + v]);
            ID(store_part)(y + p * y_pix + (V - 1) * VL, acc[p * V + V - 1], rest);
        }
    } else {
        UNROLL for (int p = 0; p < P; p++)
            UNROLL for (int v = 0; v < V; v++) ID(store)(y + p * y_pix + v * VL, acc[p * V + v]);
    }
}

#define TILE(kind, P, V) \
    static void ID(tile_##kind##_##P##_##V)(const ID(job) *j, const REAL *a, REAL *y) { ID(tile)(j, a, y, kind, P, V); }
#define TILES_6(kind, V) TILE(kind, 1, V) TILE(kind, 2, V) TILE(kind, 3, V) TILE(kind, 4, V) TILE(kind, 5, V) TILE(kind, 6, V)
#define TILES_12(kind, V) \
    TILES_6(kind, V) TILE(kind, 7, V) TILE(kind, 8, V) TILE(kind, 9, V) TILE(kind, 10, V) TILE(kind, 11, V) TILE(kind, 12, V)
#define TILES_14(kind, V) TILES_12(kind, V) TILE(kind, 13, V) TILE(kind, 14, V)
#define LIST_6(kind, V) \
    ID(tile_##kind##_1_##V), ID(tile_##kind##_2_##V), ID(tile_##kind##_3_##V), ID(tile_##kind##_4_##V), \
    ID(tile_##kind##_5_##V), ID(tile_##kind##_6_##V)
#define LIST_12(kind, V) \
    LIST_6(kind, V), ID(tile_##kind##_7_##V), ID(tile_##kind##_8_##V), ID(tile_##kind##_9_##V), ID(tile_##kind##_10_##V), \
    ID(tile_##kind##_11_##V), ID(tile_##kind##_12_##V)
#define LIST_14(kind, V) LIST_12(kind, V), ID(tile_##kind##_13_##V), ID(tile_##kind##_14_##V)
#define PASTE_TILES(n) TILES_##n
#define PASTE_LIST(n) LIST_##n
#define TILES(n) PASTE_TILES(n)
#define LIST(n) PASTE_LIST(n)

#if VECTORS == 4
#define FAMILY(kind) \
    TILES(POINTS_1)(kind, 1) TILES(POINTS_V)(kind, 2) TILES(POINTS_V)(kind, 3) TILES(POINTS_V)(kind, 4) \
    static void (*const ID(table_##kind)[VECTORS][POINTS_1])(const ID(job) *, const REAL *, REAL *) = { \
        {LIST(POINTS_1)(kind, 1)}, {LIST(POINTS_V)(kind, 2)}, {LIST(POINTS_V)(kind, 3)}, {LIST(POINTS_V)(kind, 4)}};
#else
#define FAMILY(kind) \
    TILES(POINTS_1)(kind, 1) TILES(POINTS_V)(kind, 2) \
    static void (*const ID(table_##kind)[VECTORS][POINTS_1])(const ID(job) *, const REAL *, REAL *) = { \
        {LIST(POINTS_1)(kind, 1)}, {LIST(POINTS_V)(kind, 2)}};
#endif
FAMILY(ROW)
FAMILY(OUTER)
FAMILY(LANE)
FAMILY(LANE_PART)

/* n points in tiles of nearly equal height: 8 as 4 + 4, not 6 + 2. */
INLINE void ID(cover)(const ID(job) *j, const REAL *a, REAL *y, ptrdiff_t n, ptrdiff_t pix,
                      void (*const (*table)[POINTS_1])(const ID(job) *, const REAL *, REAL *)) {
    if (n <= 0) return;
    int v = (int)((j->columns + VL - 1) / VL), most = v == 1 ? POINTS_1 : POINTS_V;
    ptrdiff_t tiles = (n + most - 1) / most, p = n / tiles, taller = n - p * tiles;
    for (ptrdiff_t i = 0; i < tiles; i++) {
        ptrdiff_t height = p + (i < taller);
        table[v - 1][height - 1](j, a, y);
        a += height * pix;
        y += height * j->y_pix;
    }
}

static void ID(row)(const ID(job) *j, const REAL *a, REAL *y, ptrdiff_t n) { ID(cover)(j, a, y, n, j->pix, ID(table_ROW)); }
static void ID(outer)(const ID(job) *j, const REAL *a, REAL *y, ptrdiff_t n) {
    ID(cover)(j, a, y, n, 1, ID(table_OUTER));
}
static void ID(lane)(const ID(job) *j, const REAL *a, REAL *y, ptrdiff_t n) {
    ID(cover)(j, a, y, n, j->pix, j->columns % VL ? ID(table_LANE_PART) : ID(table_LANE));
}

/* The next S taps of a filter row on P points by V vectors of channels: each input goes straight into an FMA. */
INLINE void ID(taps)(VEC *acc, const ID(job) *j, const REAL *a, const REAL *b, const int rest, const int P, const int V, const int S) {
    VEC w[12];
    UNROLL for (int v = 0; v < V; v++)
        UNROLL for (int s = 0; s < S; s++)
            w[v * S + s] = rest < VL ? ID(load_part)(b + s * j->b_step, rest) : ID(load)(b + s * j->b_step + v * VL);
    UNROLL for (int p = 0; p < P; p++, a += j->pix)
        UNROLL for (int v = 0; v < V; v++)
            UNROLL for (int s = 0; s < S; s++)
                acc[p * V + v] += w[v * S + s] * (rest < VL ? ID(load_part)(a + s * j->step, rest) : ID(load)(a + s * j->step + v * VL));
}

/* Channels c ... of P points; rest < VL: the last ones, fewer than a vector. */
INLINE void ID(channels)(const ID(job) *j, const REAL *a0, REAL *y, ptrdiff_t c, const int rest, const int P, const int V) {
    VEC acc[8];
    UNROLL for (int i = 0; i < P * V; i++) acc[i] = (VEC){0};
    for (ptrdiff_t s = 0; s < j->n_seg; s++) {
        const REAL *a = a0 + j->seg_a[s] + c, *b = j->b + j->seg_b[s] + c;
        ptrdiff_t t = j->run;
        for (; t >= 3; t -= 3, a += 3 * j->step, b += 3 * j->b_step) ID(taps)(acc, j, a, b, rest, P, V, 3);
        if (t == 2) ID(taps)(acc, j, a, b, rest, P, V, 2);
        if (t == 1) ID(taps)(acc, j, a, b, rest, P, V, 1);
    }
    y += c;
    UNROLL for (int v = 0; v < V; v++) {
        VEC shift = j->bias ? ID(load)(j->bias + c + v * VL) : (VEC){0};
        UNROLL for (int p = 0; p < P; p++) {
            VEC x = acc[p * V + v] + shift;
            if (j->relu) x = (VEC)((MASK)x & ~(MASK)(x <= (VEC){0})); /* NaN stays NaN */
            if (rest < VL) ID(store_part)(y + p * j->y_pix, x, rest);
            else ID(store)(y + p * j->y_pix + v * VL, x);
        }
    }
}

/* P points, all their channels: x and y are walked through as they lie in memory. A single point takes four vectors at
 * once, for sums that do not wait for each other. */
INLINE void ID(points)(const ID(job) *j, const REAL *a, REAL *y, const int P) {
    ptrdiff_t c = 0;
    if (P == 1)
        for (; c + 4 * VL <= j->columns; c += 4 * VL) ID(channels)(j, a, y, c, VL, P, 4);
    for (; c + VL <= j->columns; c += VL) ID(channels)(j, a, y, c, VL, P, 1);
    if (c < j->columns) ID(channels)(j, a, y, c, (int)(j->columns - c), P, 1);
}

static void ID(depthwise)(const ID(job) *given, const REAL *a, REAL *y, ptrdiff_t n) {
    const ID(job) copy = *given, *j = &copy; /* nobody else can write to it */
    for (; n >= 8; n -= 8, a += 8 * j->pix, y += 8 * j->y_pix) ID(points)(j, a, y, 8);
    if (n >= 4) ID(points)(j, a, y, 4), n -= 4, a += 4 * j->pix, y += 4 * j->y_pix;
    if (n >= 2) ID(points)(j, a, y, 2), n -= 2, a += 2 * j->pix, y += 2 * j->y_pix;
    if (n >= 1) ID(points)(j, a, y, 1);
}

static void ID(pack)(REAL *to, ptrdiff_t width, const REAL *from, ptrdiff_t ld, ptrdiff_t depth, ptrdiff_t columns,
                     int transposed) {
    if (!transposed) {
        ptrdiff_t whole = columns / VL * VL;
        for (ptrdiff_t t = 0; t < depth; t++, to += width, from += ld) {
            ptrdiff_t k = 0;
            for (; k < whole; k += VL) ID(store)(to + k, ID(load)(from + k));
            if (k < columns) {
                VEC last = ID(load_part)(from + k, (int)(columns - k));
                if (k + VL <= width) ID(store)(to + k, last);
                else ID(store_part)(to + k, last, (int)(columns - k));
                k += VL;
            }
            for (; k < width; k++) to[k] = 0;
        }
        return;
    }
    ptrdiff_t k = 0;
    for (; k + 4 <= columns; k += 4) {
        const REAL *row = from + k * ld;
        REAL *at = to + k;
        ptrdiff_t t = 0;
        for (; t + 4 <= depth; t += 4, at += 4 * width) { /* blocks of 4 x 4 */
            QUAD x0 = *(const QUADU *)(row + t), x1 = *(const QUADU *)(row + ld + t);
            QUAD x2 = *(const QUADU *)(row + 2 * ld + t), x3 = *(const QUADU *)(row + 3 * ld + t);
            QUAD low01 = SHUFFLE(ID(quad_numbers), x0, x1, 0, 4, 1, 5), low23 = SHUFFLE(ID(quad_numbers), x2, x3, 0, 4, 1, 5);
            QUAD high01 = SHUFFLE(ID(quad_numbers), x0, x1, 2, 6, 3, 7), high23 = SHUFFLE(ID(quad_numbers), x2, x3, 2, 6, 3, 7);
            *(QUADU *)at = SHUFFLE(ID(quad_numbers), low01, low23, 0, 1, 4, 5);
            *(QUADU *)(at + width) = SHUFFLE(ID(quad_numbers), low01, low23, 2, 3, 6, 7);
            *(QUADU *)(at + 2 * width) = SHUFFLE(ID(quad_numbers), high01, high23, 0, 1, 4, 5);
            *(QUADU *)(at + 3 * width) = SHUFFLE(ID(quad_numbers), high01, high23, 2, 3, 6, 7);
        }
        for (; t < depth; t++, at += width)
            for (int i = 0; i < 4; i++) at[i] = row[i * ld + t];
    }
    for (; k < columns; k++)
        for (ptrdiff_t t = 0; t < depth; t++) to[t * width + k] = from[k * ld + t];
    for (; k < width; k++)
        for (ptrdiff_t t = 0; t < depth; t++) to[t * width + k] = 0;
}

#undef TILE
#undef TILES_6
#undef TILES_12
#undef TILES_14
#undef LIST_6
#undef LIST_12
#undef LIST_14
#undef PASTE_TILES
#undef PASTE_LIST
#undef TILES
#undef LIST
#undef FAMILY
#undef QUAD
#undef QUADU
