/* exp, log, tanh, the logistic function and the normal distribution without a branch, so that GCC turns a loop
 * over them into vectors of whatever instruction set the file is compiled for.
 *
 * A template: include it with REAL and M(name) defined and DL_F64 as 0 or 1 (csrc/kernels/pointwise/twice.h does).
 * Relative error: float <= 3e-7, double <= 1e-15 (tests/backends/test_native_pointwise.py states and checks the
 * bounds); exact limits at +-inf, NaN in gives NaN out, denormal results are right where exp is the last step.
 * The polynomials are Chebyshev fits made with 50 digits; "u = 3 (1+t)/(1-t)" is Shepherd & Laframboise 1981.
 */
#include <stdint.h>

#undef DL_PHI_MAX
#define DL_INLINE static inline __attribute__((always_inline))

#if DL_F64
#define DL_BITS uint64_t
#define DL_ROUND 0x1.8p52 /* x + DL_ROUND holds round(x) in its low bits */
#define DL_BIAS 1023
#define DL_MANTISSA 52
#define DL_LN2_HIGH 6.93147180369123816490e-01
#define DL_LN2_LOW 1.90821492927058770002e-10
#define DL_EXP_MIN -750.0
#define DL_EXP_MAX 720.0
#define DL_HALF_BITS 0xfffffffff8000000u /* keeps 26 bits of the mantissa: its square is exact */
#define DL_PHI_MAX 37.6 /* e^(-x^2/2) is not denormal yet */
#define DL_EXP_NORMAL -708.0
#else
#define DL_BITS uint32_t
#define DL_ROUND 0x1.8p23f
#define DL_BIAS 127
#define DL_MANTISSA 23
#define DL_LN2_HIGH 0.693359375f
#define DL_LN2_LOW -2.12194440e-4f
#define DL_EXP_MIN -110.0f
#define DL_EXP_MAX 100.0f
#define DL_HALF_BITS 0xfffff000u
#define DL_PHI_MAX 13.2f /* e^(-x^2/2) is not denormal yet */
#define DL_EXP_NORMAL -87.3f
#endif

DL_INLINE DL_BITS M(bits)(REAL x) {
    DL_BITS i;
    __builtin_memcpy(&i, &x, sizeof i);
    return i;
}

DL_INLINE REAL M(from_bits)(DL_BITS i) {
    REAL x;
    __builtin_memcpy(&x, &i, sizeof x);
    return x;
}

/* 2^n for a whole n in [1 - bias, bias] */
DL_INLINE REAL M(two_to)(REAL n) { return M(from_bits)(M(bits)(n + (DL_ROUND + DL_BIAS)) << DL_MANTISSA); }

/* one ? a : b in bits: where ?: is followed by long formulas GCC computes them once for each outcome */
DL_INLINE REAL M(choose)(int one, REAL a, REAL b) {
    const DL_BITS mask = -(DL_BITS)(one != 0);
    return M(from_bits)((M(bits)(a) & mask) | (M(bits)(b) & ~mask));
}

DL_INLINE REAL M(limit)(REAL x, REAL low, REAL high) { /* NaN stays */
    x = M(choose)(x < low, low, x);
    return M(choose)(x > high, high, x);
}

/* e^r - 1 for |r| <= ln(2) / 2 */
DL_INLINE REAL M(expm1_small)(REAL r) {
#if DL_F64
    REAL q = 0x1.af38a9b0ec855p-26;
    q = q * r + 0x1.289185613a3d6p-22;
    q = q * r + 0x1.71de0dae63bb3p-19;
    q = q * r + 0x1.a019b90d2ae7ap-16;
    q = q * r + 0x1.a01a01a7c41d5p-13;
    q = q * r + 0x1.6c16c1788bd90p-10;
    q = q * r + 0x1.11111111109b3p-7;
    q = q * r + 0x1.5555555553d63p-5;
    q = q * r + 0x1.5555555555556p-3;
    q = q * r + 0.5;
#else
    REAL q = 0.0001989099082f;
    q = q * r + 0.001393365f;
    q = q * r + 0.008333310925f;
    q = q * r + 0.04166646493f;
    q = q * r + 0.1666666668f;
    q = q * r + 0.5f;
#endif
    return q * (r * r) + r;
}

DL_INLINE REAL M(exp)(REAL x) {
    x = M(limit)(x, (REAL)DL_EXP_MIN, (REAL)DL_EXP_MAX);
    REAL n = (x * (REAL)1.4426950408889634 + (REAL)DL_ROUND) - (REAL)DL_ROUND;
    REAL r = (x - n * (REAL)DL_LN2_HIGH) - n * (REAL)DL_LN2_LOW;
    REAL half = (n * (REAL)0.5 + (REAL)DL_ROUND) - (REAL)DL_ROUND; /* two factors: 2^n alone may not be representable */
    return ((M(expm1_small)(r) + 1) * M(two_to)(half)) * M(two_to)(n - half);
}

/* e^(x + low), |low| << 1, where DL_EXP_NORMAL <= x <= 0 */
DL_INLINE REAL M(exp_normal)(REAL x, REAL low) {
    REAL n = (x * (REAL)1.4426950408889634 + (REAL)DL_ROUND) - (REAL)DL_ROUND;
    REAL r = (x - n * (REAL)DL_LN2_HIGH) - n * (REAL)DL_LN2_LOW + low;
    return (M(expm1_small)(r) + 1) * M(two_to)(n);
}

/* e^x for x <= 0; 0 where that is denormal */
DL_INLINE REAL M(exp_down)(REAL x) {
    const REAL e = M(exp_normal)(M(choose)(x < (REAL)DL_EXP_NORMAL, (REAL)DL_EXP_NORMAL, x), 0);
    return M(choose)(x < (REAL)DL_EXP_NORMAL, 0, e);
}

/* e^x - 1 */
DL_INLINE REAL M(expm1)(REAL x) {
    x = M(limit)(x, (REAL)-50, (REAL)DL_EXP_MAX);
    REAL n = (x * (REAL)1.4426950408889634 + (REAL)DL_ROUND) - (REAL)DL_ROUND;
    REAL r = (x - n * (REAL)DL_LN2_HIGH) - n * (REAL)DL_LN2_LOW;
    REAL half = (n * (REAL)0.5 + (REAL)DL_ROUND) - (REAL)DL_ROUND;
    REAL a = M(two_to)(half), b = M(two_to)(n - half);
    return M(expm1_small)(r) * a * b + (a * b - 1);
}

DL_INLINE REAL M(tanh)(REAL x) {
    REAL e = M(expm1)(M(limit)(x, (REAL)-25, (REAL)25) * 2);
    return e / (e + 2);
}

DL_INLINE REAL M(sigmoid)(REAL x) { return 1 / (1 + M(exp)(-x)); }

/* 2 atanh(s) for |s| <= 1/3 */
DL_INLINE REAL M(twice_atanh)(REAL s) {
    REAL w = s * s;
#if DL_F64
    REAL p = 0x1.401d3e65cdc48p-3;
    p = p * w + 0x1.32e0d25c9c761p-4;
    p = p * w + 0x1.bc37f0140c19ep-4;
    p = p * w + 0x1.e0a2d581ab68fp-4;
    p = p * w + 0x1.111abdc8abe16p-3;
    p = p * w + 0x1.3b13515f6f9efp-3;
    p = p * w + 0x1.745d19937b1fcp-3;
    p = p * w + 0x1.c71c71bedea97p-3;
    p = p * w + 0x1.2492492499d46p-2;
    p = p * w + 0x1.9999999999944p-2;
    p = p * w + 0x1.5555555555555p-1;
#else
    REAL p = 0.2322432922f;
    p = p * w + 0.217065758f;
    p = p * w + 0.2859235799f;
    p = p * w + 0.3999970633f;
    p = p * w + 0.6666666732f;
#endif
    return s * w * p + 2 * s;
}

/* log(1 + u) for 0 <= u <= 1 */
DL_INLINE REAL M(log1p_unit)(REAL u) { return M(twice_atanh)(u / (2 + u)); }

DL_INLINE REAL M(softplus)(REAL x) {
    REAL above = x < 0 ? 0 : x;
    return above + M(log1p_unit)(M(exp)(-__builtin_fabs(x)));
}

/* log(x): x = 2^e m with m in [sqrt(1/2), sqrt(2)), log(m) = 2 atanh((m - 1) / (m + 1)) */
DL_INLINE REAL M(log)(REAL x) {
    const REAL least = M(from_bits)((DL_BITS)1 << DL_MANTISSA);
    const REAL y = M(choose)(x < least, x * M(two_to)(DL_MANTISSA), x); /* denormal x */
    const DL_BITS root = M(bits)((REAL)0.70710678118654752), e = (M(bits)(y) - root + M(bits)(1)) >> DL_MANTISSA;
    const REAL m = M(from_bits)(M(bits)(y) - ((e - DL_BIAS) << DL_MANTISSA));
    /* e is whole and small: as the low bits of DL_ROUND it becomes a number without a conversion */
    const REAL n = (M(from_bits)(M(bits)((REAL)DL_ROUND) + e) - (REAL)DL_ROUND) -
                   M(choose)(x < least, DL_BIAS + DL_MANTISSA, DL_BIAS);
    REAL log = n * (REAL)DL_LN2_HIGH + (n * (REAL)DL_LN2_LOW + M(twice_atanh)((m - 1) / (m + 1)));
    log = M(choose)(x == (REAL)__builtin_inf(), x, log);
    log = M(choose)(x == 0, (REAL)-__builtin_inf(), log);
    return M(choose)((x < 0) | (x != x), (REAL)__builtin_nan(""), log);
}

/* e^(-x^2/2), without the error that rounding x^2 would bring; |x| <= DL_PHI_MAX */
DL_INLINE REAL M(gauss)(REAL x) {
    REAL high = M(from_bits)(M(bits)(x) & (DL_BITS)DL_HALF_BITS);
    return M(exp_normal)((REAL)-0.5 * high * high, (REAL)-0.5 * (x - high) * (x + high));
}

/* The normal distribution function from gauss(x): one small relative error everywhere, the far left tail included. */
DL_INLINE REAL M(phi_from)(REAL x, REAL gauss) {
    REAL u = __builtin_fabs(x) * (REAL)0.70710678118654752;
    REAL t = (u - 3) / (u + 3);
#if DL_F64
    REAL p = 0x1.89ed021877a33p-26;
    p = p * t + 0x1.113c56e23f047p-24;
    p = p * t - 0x1.0ab25e4ccdbd1p-23;
    p = p * t - 0x1.2f5240c953cf1p-21;
    p = p * t + 0x1.78bfd57621f41p-22;
    p = p * t + 0x1.ccb247f6656bdp-19;
    p = p * t - 0x1.8993d595f4678p-21;
    p = p * t - 0x1.50e97e2b97ec3p-16;
    p = p * t + 0x1.4c4c7380dfc0fp-18;
    p = p * t + 0x1.0657237583ac4p-13;
    p = p * t - 0x1.b91355a6025bfp-14;
    p = p * t - 0x1.98db2c6fd1aaap-11;
    p = p * t + 0x1.ef1bdfcb50211p-10;
    p = p * t + 0x1.4b884d44974e6p-9;
    p = p * t - 0x1.8574c40f5ddffp-6;
    p = p * t + 0x1.17ca287865554p-4;
    p = p * t - 0x1.e88b803a40f06p-4;
    p = p * t + 0x1.098366a5b3120p-3;
    p = p * t - 0x1.85a15c58aa7b6p-5;
    p = p * t - 0x1.15c084bb9e8d8p-3;
    p = p * t + 0x1.40c522d7e4987p+0;
#else
    REAL w = t * t; /* even and odd powers apart: two chains of additions wait half as long as one */
    REAL even = -0.0002690068022f, odd = -0.000775897423f;
    even = even * w + 0.002009782327f;
    odd = odd * w + 0.00257290446f;
    even = even * w - 0.02380005901f;
    odd = odd * w + 0.06829274811f;
    even = even * w - 0.119270944f;
    odd = odd * w + 0.1296468575f;
    even = even * w - 0.04756237295f;
    odd = odd * w - 0.1356211556f;
    even = even * w + 1.253008059f;
    REAL p = odd * t + even;
#endif
    REAL tail = (REAL)0.5 * gauss * (p / (1 + 2 * u)); /* p / (1 + 2u) = e^(u^2) erfc(u) */
    return M(choose)(x > 0, 1 - tail, tail);
}

#undef DL_BITS
#undef DL_ROUND
#undef DL_BIAS
#undef DL_MANTISSA
#undef DL_LN2_HIGH
#undef DL_LN2_LOW
#undef DL_EXP_MIN
#undef DL_EXP_MAX
#undef DL_HALF_BITS
#undef DL_EXP_NORMAL
#undef DL_INLINE
