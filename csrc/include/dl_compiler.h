/* What GCC and Clang spell differently, or at length. */
#ifndef DL_COMPILER_H
#define DL_COMPILER_H
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#endif
