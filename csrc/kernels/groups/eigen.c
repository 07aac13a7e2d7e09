/* The leading eigenvectors of a small symmetric matrix: Householder's reflections to a tridiagonal matrix, and QL with implicit
 * shifts there (Golub & Van Loan 2013, Matrix Computations, 8.3). LAPACK's ssyevd takes five times as long for one so small. */
#include <math.h>
#include <string.h>

#include "groups.h"

enum { SIZE = DL_SIMILAR, TURNS = 50 /* at most for an eigenvalue; two are usual */ };
#define NEGLIGIBLE 1e-4f /* of the floor: what is left beside the diagonal. Eigenvalues are off by less, and by rounding the largest */
#define EACH(v) UNROLL for (int v = 0; v < SIZE; v += DL_LANES)

INLINE float dot(const float *a, const float *b) {
    lanes sum = {0};
    EACH(v) sum += GET(lanes, a + v) * GET(lanes, b + v);
    return total(sum);
}

INLINE void add_times(float *a, float factor, const float *b) { EACH(v) AT(lanes, a + v) += factor * GET(lanes, b + v); }

/* T = H A H, its diagonal and what is beside it. H = H_0 H_1 ..., H_k = I - scale[k] v v^T with v = V[k], which turns column k
 * below the diagonal onto its first element. */
static void tridiagonal(float A[SIZE][SIZE], float diagonal[SIZE], float beside[SIZE], float V[SIZE][SIZE], float scale[SIZE],
                        float negligible) {
    for (int k = 0; k < SIZE - 2; k++) {
        float *v = V[k], p[SIZE] = {0};
        beside[k] = scale[k] = 0;
        for (int i = 0; i < SIZE; i++) v[i] = i > k ? A[k][i] : 0;
        const float square = dot(v, v);
        if (square <= negligible * negligible) continue; /* as if it were 0 */
        beside[k] = v[k + 1] > 0 ? -sqrtf(square) : sqrtf(square); /* of the sign that leaves nothing to cancel */
        scale[k] = 1 / (square - beside[k] * v[k + 1]);
        v[k + 1] -= beside[k];
        for (int i = k + 1; i < SIZE; i++) add_times(p, v[i], A[i]);
        const float along = scale[k] / 2 * dot(p, v);
        EACH(j) AT(lanes, p + j) = scale[k] * (GET(lanes, p + j) - along * GET(lanes, v + j));
        for (int i = k + 1; i < SIZE; i++)
            EACH(j) AT(lanes, A[i] + j) -= v[i] * GET(lanes, p + j) + p[i] * GET(lanes, v + j);
    }
    for (int i = 0; i < SIZE; i++) diagonal[i] = A[i][i];
    beside[SIZE - 2] = A[SIZE - 2][SIZE - 1];
    beside[SIZE - 1] = 0;
}

/* No eigenvalue of the rows from `low` on is larger (Gershgorin). */
static float bound(const float diagonal[SIZE], const float beside[SIZE], int low) {
    float most = 0;
    for (int i = low; i < SIZE; i++) most = fmaxf(most, diagonal[i] + fabsf(beside[i]) + (i > low ? fabsf(beside[i - 1]) : 0));
    return most;
}

/* Turns T until what is beside its diagonal is negligible, or below the floor with all that follows; each row of Z turns with its
 * row of T. The largest eigenvalues are mostly found first: H has gathered them in the first rows. */
static void diagonalise(float diagonal[SIZE], float beside[SIZE], float Z[SIZE][SIZE], float floor, float negligible) {
    for (int low = 0; low < SIZE && bound(diagonal, beside, low) > floor; low++)
        for (int turn = 0; turn < TURNS; turn++) {
            int high = low, i;
            while (high < SIZE - 1 && fabsf(beside[high]) > negligible) high++;
            if (high == low) break;
            const float half = (diagonal[low + 1] - diagonal[low]) / (2 * beside[low]), root = sqrtf(half * half + 1);
            float bulge = diagonal[high] - diagonal[low] + beside[low] / (half + (half < 0 ? -root : root)); /* Wilkinson's shift */
            float sine = 1, cosine = 1, moved = 0;
            for (i = high - 1; i >= low; i--) {
                const float f = sine * beside[i], b = cosine * beside[i], r = sqrtf(f * f + bulge * bulge);
                beside[i + 1] = r;
                if (r == 0) break;
                sine = f / r, cosine = bulge / r;
                bulge = diagonal[i + 1] - moved;
                const float twice = (diagonal[i] - bulge) * sine + 2 * cosine * b;
                moved = sine * twice;
                diagonal[i + 1] = bulge + moved;
                bulge = cosine * twice - b;
                EACH(j) {
                    const lanes upper = GET(lanes, Z[i] + j), lower = GET(lanes, Z[i + 1] + j);
                    AT(lanes, Z[i] + j) = cosine * upper - sine * lower;
                    AT(lanes, Z[i + 1] + j) = sine * upper + cosine * lower;
                }
            }
            if (i < low) diagonal[low] -= moved, beside[low] = bulge;
            else diagonal[i + 1] -= moved; /* the matrix fell into two */
            beside[high] = 0;
        }
}

long KERNEL(leading)(dl_row *A, float floor, dl_row *vectors) {
    float diagonal[SIZE], beside[SIZE], V[SIZE][SIZE], scale[SIZE], Z[SIZE][SIZE] = {{0}};
    tridiagonal(A, diagonal, beside, V, scale, NEGLIGIBLE * floor);
    for (int i = 0; i < SIZE; i++) Z[i][i] = 1;
    diagonalise(diagonal, beside, Z, floor, NEGLIGIBLE * floor);
    long count = 0;
    for (int i = 0; i < SIZE; i++)
        if (diagonal[i] > floor) {
            for (int k = SIZE - 3; k >= 0; k--) add_times(Z[i], -scale[k] * dot(V[k], Z[i]), V[k]);
            memcpy(vectors[count++], Z[i], sizeof *vectors);
        }
    return count;
}
