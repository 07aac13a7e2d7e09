/* Instruction sets: kernels are written once and compiled once for each set; the CPU's best is chosen at run time.
 *
 * Every file under csrc/kernels/ is compiled with -DDL_ISA=baseline, and on x86-64 again with -DDL_ISA=avx2 and
 * -DDL_ISA=avx512. DL_NAME(f) puts the set's name behind a symbol, so that `grep dl_sgemm` finds the one definition
 * and the linker sees dl_sgemm_baseline, dl_sgemm_avx2, ... Files outside csrc/kernels/ are compiled once, without
 * any instruction-set flag, and call through tables of function pointers filled at import.
 */
#ifndef DL_ISA_H
#define DL_ISA_H

enum dl_isa { DL_ISA_BASELINE = 0, DL_ISA_AVX2 = 1, DL_ISA_AVX512 = 2 };

/* The best set that this CPU has and this build contains. DLKIT_ISA=baseline|avx2|avx512 asks for a lower one; a name
 * that is unknown or that the CPU lacks is ignored here and reported by dl_isa_request_error(). */
enum dl_isa dl_isa_choice(void);
const char *dl_isa_name(enum dl_isa isa);
const char *dl_isa_request_error(void); /* NULL, or why DLKIT_ISA was not followed */
enum dl_isa dl_isa_cpu(void);           /* what the CPU has, whatever was asked for */

#ifdef DL_ISA
#define DL_PASTE2(a, b) a##_##b
#define DL_PASTE(a, b) DL_PASTE2(a, b)
#define DL_NAME(f) DL_PASTE(f, DL_ISA)
#endif

/* 64-byte vectors: those of AVX-512. With DL_WIDE (DLKIT_BUILD_WIDE=1, setup.py) AVX2 instructions stand in for it, so that these
 * kernels can be tested on a CPU without AVX-512; nothing else is that build good for. */
#if defined(__AVX512F__) || defined(DL_WIDE)
#define DL_VECTORS_64 1
#endif

/* DL_FOR_EACH_ISA(X) expands X(baseline) X(avx2) X(avx512) for the sets in this build. */
#if defined(DL_WITH_X86_ISAS)
#define DL_FOR_EACH_ISA(X) X(baseline) X(avx2) X(avx512)
#define DL_PICK(table) \
    (dl_isa_choice() == DL_ISA_AVX512 ? &table##_avx512 : dl_isa_choice() == DL_ISA_AVX2 ? &table##_avx2 : &table##_baseline)
#else
#define DL_FOR_EACH_ISA(X) X(baseline)
#define DL_PICK(table) (&table##_baseline)
#endif

#endif
