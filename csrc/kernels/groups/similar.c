/* The patches most like one, by the squared differences of their grey values. */
#include "dl_split.h"
#include "groups.h"

enum { SIDE = 2 * DL_SEARCH + 1, ACROSS = (SIDE + DL_LANES - 1) / DL_LANES * DL_LANES };

_Static_assert(DL_BEHIND >= ACROSS - 1, "whole vectors are read past the last patch of a row");

/* of the patch at `one` from those that begin at `other` and the columns behind it */
INLINE void distances(const float *one, const float *other, long pitch, long size, float of[ACROSS]) {
    lanes sum[ACROSS / DL_LANES] = {{0}};
    for (long r = 0; r < size; r++, one += pitch, other += pitch)
        for (long s = 0; s < size; s++)
            UNROLL for (int v = 0; v < ACROSS / DL_LANES; v++) {
                const lanes step = GET(lanes, other + s + v * DL_LANES) - one[s];
                sum[v] += step * step;
            }
    UNROLL for (int v = 0; v < ACROSS / DL_LANES; v++) AT(lanes, of + v * DL_LANES) = sum[v];
}

long KERNEL(similar)(const float *grey, long h, long w, long size, long top, long left, dl_place *places) {
    const long pitch = w + DL_BEHIND, first = dl_max(left - DL_SEARCH, 0), last = dl_min(left + DL_SEARCH, w - size);
    float nearest[DL_SIMILAR] = {-1}, row[ACROSS]; /* the patch itself always comes first */
    long n = 1;
    places[0][0] = top, places[0][1] = left;
    for (long i = dl_max(top - DL_SEARCH, 0); i <= dl_min(top + DL_SEARCH, h - size); i++) {
        distances(grey + top * pitch + left, grey + i * pitch + first, pitch, size, row);
        for (long j = first; j <= last; j++) {
            const float distance = row[j - first];
            if ((n == DL_SIMILAR && distance >= nearest[n - 1]) || (i == top && j == left)) continue;
            n += n < DL_SIMILAR;
            long k = n - 1;
            for (; nearest[k - 1] > distance; k--) {
                nearest[k] = nearest[k - 1];
                places[k][0] = places[k - 1][0], places[k][1] = places[k - 1][1];
            }
            nearest[k] = distance;
            places[k][0] = i, places[k][1] = j;
        }
    }
    return n;
}
