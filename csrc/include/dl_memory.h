/* Keeping freed memory: a training step frees and takes the same megabytes again, and a page that went back to the system
 * costs up to 2 µs to get back. */
#ifndef DL_MEMORY_H
#define DL_MEMORY_H
#include <stdlib.h> /* defines __GLIBC__ where it is glibc */
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* From now on blocks of up to 32 MB (glibc's ceiling) come from the heap, and the heap's top 512 MB are not given back. */
static inline void dl_keep_memory(void) {
#ifdef M_TRIM_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}
#endif
