/* Groups of similar patches, each approximated by a matrix of low rank (src/dlkit/inpaint/groups.py). Float only. */
#ifndef DL_GROUPS_H
#define DL_GROUPS_H
#include <stdint.h>

#include "dl_isa.h"

enum {
    DL_SIMILAR = 32,     /* patches of a group */
    DL_SEARCH = 10,      /* pixels around a patch in which similar ones are sought */
    DL_PATCH = 8,        /* a patch's side, at most */
    DL_MOST_CHANNELS = 4,
    DL_BEHIND = 32       /* free columns behind a grey image: read, whatever they hold, and ignored */
};

typedef int64_t dl_place[2]; /* row and column */
typedef float dl_row[DL_SIMILAR];

struct dl_groups {
    const float *image;              /* [h][w][channels] */
    const float *grey;               /* [h][w + DL_BEHIND] */
    long h, w, channels, size;       /* size: of a patch, at most DL_PATCH, h and w */
    float noise;                     /* standard deviation of what is to be dropped */
    const dl_place *leaders;         /* [groups]: the patches that lead one */
    const int64_t *ends, *tops;      /* [bands]: the group behind a band's last; the row of the image its sums begin with */
    long bands, height;
    float *sums, *weights;           /* [bands][height][w][channels] and [bands][height][w], of weight * patch and of weight */
};

#define DL_GROUP_KERNELS(X)                                                                                            \
    /* places [SIMILAR]: the patch at (top, left), then those around it most like it, in order; how many */           \
    X(long, similar, (const float *grey, long h, long w, long size, long top, long left, dl_place *places))            \
    /* how many eigenvalues of the symmetric A exceed floor, above 0; their eigenvectors are then the first rows. A [SIMILAR] is 0 \
     * beyond the matrix and is overwritten */                                                                         \
    X(long, leading, (dl_row *A, float floor, dl_row *vectors))                                                        \
    /* every group of every band */                                                                                    \
    X(void, approximate, (const struct dl_groups *q))

struct dl_group_kernels {
#define DL_MEMBER(result, name, arguments) result(*name) arguments;
    DL_GROUP_KERNELS(DL_MEMBER)
#undef DL_MEMBER
};

const struct dl_group_kernels *dl_group_kernels(void); /* those of the best instruction set */
#endif
