#include "dl_pool.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(__has_include)
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif
#endif

enum { HUGE_PAGE = 2 << 20, PAGE = 4096, COLOURS = 16, COLOUR = 256 };
static const size_t SLACK = (size_t)32 << 20;

static struct dl_block *newest, *oldest; /* the free blocks */
static struct dl_pool_stats now;
static char busy;

static void lock(void) {
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {}
}
static void unlock(void) { __atomic_clear(&busy, __ATOMIC_RELEASE); }

/* Big blocks ask for huge pages, whose first touch is eight times cheaper a byte. Their starts differ by a multiple of
 * COLOUR: arrays that all began at the same place of a page would compete for the same lines of L1. */
static struct dl_block *from_system(size_t bytes) {
    static size_t colour;
    size_t shift = __atomic_fetch_add(&colour, 1, __ATOMIC_RELAXED) % COLOURS * COLOUR;
    struct dl_block *block = malloc(sizeof *block);
    if (block == NULL) return NULL;
#ifdef MAP_ANONYMOUS
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
    size_t mapped = bytes + COLOURS * COLOUR + align;
    void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) memory = NULL;
#else
    size_t align = 64, mapped = bytes + COLOURS * COLOUR + align;
    void *memory = malloc(mapped);
#endif
    if (memory == NULL) {
        free(block);
        return NULL;
    }
    char *start = (char *)(((uintptr_t)memory + align - 1) / align * align);
#if defined(MAP_ANONYMOUS) && defined(MADV_HUGEPAGE)
    if (bytes >= HUGE_PAGE) madvise(start, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a wish: may fail */
#endif
    *block = (struct dl_block){.data = start + shift, .bytes = bytes, .memory = memory, .mapped = mapped};
    return block;
}

static void to_system(struct dl_block *block) {
#ifdef MAP_ANONYMOUS
    munmap(block->memory, block->mapped);
#else
    free(block->memory);
#endif
    free(block);
}

static void unlink_free(struct dl_block *block) {
    *(block->newer ? &block->newer->older : &newest) = block->older;
    *(block->older ? &block->older->newer : &oldest) = block->newer;
    now.kept -= block->bytes;
}

/* The latest freed block (its lines may still be in a cache) of exactly this size, else one up to a quarter larger. */
static struct dl_block *find(size_t bytes) {
    struct dl_block *near = NULL;
    for (struct dl_block *b = newest; b != NULL; b = b->older) {
        if (b->bytes == bytes) return b;
        if (near == NULL && b->bytes > bytes && b->bytes - bytes <= bytes / 4) near = b;
    }
    return near;
}

struct dl_block *dl_pool_take(size_t bytes) {
    if (bytes > PTRDIFF_MAX / 2) return NULL;
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    lock();
    struct dl_block *block = find(bytes);
    if (block != NULL) unlink_free(block);
    /* Sizes that no longer come must not pile up: what is held stays near the most that was ever in use. */
    size_t most = now.peak > now.in_use + bytes ? now.peak : now.in_use + bytes;
    while (block == NULL && oldest != NULL && now.in_use + now.kept + bytes > most + most / 8 + SLACK) {
        struct dl_block *old = oldest;
        unlink_free(old);
        to_system(old);
    }
    if (block == NULL && (block = from_system(bytes)) != NULL) now.fresh++;
    if (block != NULL) now.in_use += block->bytes;
    if (now.in_use > now.peak) now.peak = now.in_use;
    unlock();
    return block;
}

void dl_pool_give(struct dl_block *block) {
    lock();
    now.in_use -= block->bytes;
    now.kept += block->bytes;
    block->newer = NULL;
    block->older = newest;
    *(newest ? &newest->newer : &oldest) = block;
    newest = block;
    unlock();
}

void dl_pool_release(void) {
    lock();
    while (oldest != NULL) {
        struct dl_block *old = oldest;
        unlink_free(old);
        to_system(old);
    }
    now.peak = now.in_use;
    unlock();
}

struct dl_pool_stats dl_pool_stats(void) {
    lock();
    struct dl_pool_stats copy = now;
    unlock();
    return copy;
}
