/* What GCC and Clang spell differently, or at length. */
#ifndef DL_COMPILER_H
#define DL_COMPILER_H
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
/* A vector of the numbers so and so of x and y together; `numbers` is a vector type of integers as wide as theirs. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(numbers, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(numbers, x, y, ...) __builtin_shuffle(x, y, (numbers){__VA_ARGS__})
#endif
#endif
