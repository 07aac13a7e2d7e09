"""telea, navier-stokes, harmonic, biharmonic: against dense solutions and the formulas, and the same for all threads."""

import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("dlkit._native.multigrid", reason="the native kernels are not built")
from dlkit.inpaint import METHODS, Job, inpaint
from dlkit.inpaint.multigrid import solve, stencil
from dlkit.inpaint.multigrid.levels import Hierarchy, coarser, finest

DIFFUSION = ("biharmonic", "harmonic", "navier-stokes", "telea")


def picture(shape, rng):
    """Smooth, with an edge and a little noise: float32 in 0..1."""
    i, j = np.indices(shape[:2])
    smooth = 0.5 + 0.3 * np.sin(i / 9) * np.cos(j / 7) + 0.15 * (i > 0.6 * j)
    return (smooth[..., None] + 0.02 * rng.random(shape)).clip(0, 1).astype(np.float32)


def holes(shape, rng):
    scattered = rng.random(shape) < 0.5
    block = np.zeros(shape, bool)
    block[2 : shape[0] // 2 + 3, 1 : shape[1] - 2] = True
    at_the_edges = np.ones(shape, bool)
    at_the_edges[shape[0] // 2, shape[1] // 3] = False
    line = np.zeros(shape, bool)
    line[:, shape[1] // 2] = True
    return {"scattered": scattered, "block": block, "one known pixel": at_the_edges, "line": line}


def laplacian(shape):
    """Its matrix, from the definition: the sum of the differences to the neighbours inside the image."""
    H, W = shape
    L = np.zeros((H * W, H * W))
    for i in range(H):
        for j in range(W):
            for y, x in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= y < H and 0 <= x < W:
                    L[i * W + j, i * W + j] += 1
                    L[i * W + j, y * W + x] -= 1
    return L


def exact(image, hole, power):
    A = np.linalg.matrix_power(laplacian(hole.shape), power)
    inside = hole.ravel()
    known = image.reshape(-1, image.shape[2])[~inside].astype(np.float64)
    filled = image.reshape(-1, image.shape[2]).astype(np.float64)
    filled[inside] = np.linalg.solve(A[np.ix_(inside, inside)], -A[np.ix_(inside, ~inside)] @ known)
    return filled.reshape(image.shape)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("shape", [(20, 17, 3), (9, 24, 1), (3, 11, 2), (2, 2, 3), (1, 8, 1), (5, 5, 4)], ids=str)
def test_solves_the_equation(shape, power, rng):
    image = rng.random(shape).astype(np.float32)
    for name, hole in holes(shape[:2], rng).items():
        if hole.all() or not hole.any():
            continue
        damaged = np.where(hole[..., None], np.float32(0), image)
        solved = solve(damaged, hole, power, Job("best"))
        expected = exact(image, hole, power)
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(solved, expected, atol=2e-5 * scale, err_msg=name)
        np.testing.assert_array_equal(solved[~hole], image[~hole])


def test_every_instruction_set_finds_the_same(array_by_isa, rng):
    image, hole = picture((40, 70, 3), rng), rng.random((40, 70)) < 0.6
    hole[5:30, 10:50] = True
    damaged = np.where(hole[..., None], np.float32(0), image)
    code = (
        "from dlkit.inpaint import Job; from dlkit.inpaint.multigrid import solve;"
        "result = solve(damaged, hole, 2, Job('best'))"
    )
    filled = array_by_isa(code, damaged=damaged, hole=hole)
    np.testing.assert_allclose(filled, solve(damaged, hole, 2, Job("best")), atol=3e-5)


def test_without_the_compiled_extension_one_line_says_what_to_do(tmp_path):
    code = (
        "import sys; sys.modules['dlkit._native'] = None; import numpy as np; from dlkit.inpaint import inpaint;"
        "hole = np.zeros((12, 12), bool); hole[4:8, 4:8] = True; grey = np.full((12, 12), 9, np.uint8);"
        "assert (inpaint(grey, hole, 'telea').image == 9).all(); inpaint(grey, hole, 'biharmonic')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "BackendError: this filling needs dlkit's compiled extension" in run.stderr.splitlines()[-1], run.stderr
    assert "--method telea" in run.stderr.splitlines()[-1]


def test_normal_quality_is_within_half_a_grey_level_of_best(rng):
    image = picture((90, 110, 3), rng)
    for name, hole in holes((90, 110), rng).items():
        damaged = np.where(hole[..., None], np.float32(0), image)
        for power in (1, 2):
            error = np.abs(solve(damaged, hole, power, Job()) - solve(damaged, hole, power, Job("best"))).max()
            assert error < 0.5 / 255, (name, power)


@pytest.mark.parametrize("quality", ["fast", "normal"])
@pytest.mark.parametrize(
    ("shape", "hole"),
    [((2, 100), np.s_[:, :33]), ((1, 41), np.s_[:, :13]), ((8, 60), np.s_[:, 3:]), ((60, 3), np.s_[20:])],
)
def test_a_hole_open_to_one_side_is_solved_to_the_end(shape, hole, quality, rng):
    """Where the slope runs on over many pixels steps grow before they shrink, and one small one is not the last."""
    along = np.linspace(0.2, 0.8, max(shape))
    for line in (along, 0.5 + 0.4 * np.sin(20 * along), rng.random(max(shape))):
        image = np.broadcast_to(line if shape[1] > shape[0] else line[:, None], shape)[..., None].astype(np.float32)
        inside = np.zeros(shape, bool)
        inside[hole] = True
        given = np.where(inside[..., None], np.float32(0), image)
        filled = METHODS["biharmonic"].fill(given, inside, Job(quality))
        tolerance = 0.01 * max(1, np.abs(exact(given, inside, 2)).max())
        np.testing.assert_allclose(filled[inside], exact(given, inside, 2)[inside], atol=tolerance)


def dense(level):
    """A, column by column: its product with each unit vector."""
    at = level.positions()[level.inside != 0]
    n = len(at)
    A, p, q = np.empty((n, n)), np.zeros_like(level.x), np.empty(level.b.shape)
    for i in range(n):
        p[0, at] = np.arange(n) == i
        level.product(p, q)
        A[:, i] = q.transpose(0, 2, 1)[level.inside != 0][:, 0]
    return A


@pytest.mark.parametrize("power", [1, 2])
def test_a_coarse_grids_weights_are_galerkins(power, rng):
    """PᵀAP with P made here, from the rule: 3/4 to the nearest coarse cell, 1/4 to the next, all to one where the grid ends."""
    hole = rng.random((13, 10)) < 0.85
    fine = finest(hole, 1, power)
    coarse = coarser(fine)

    def axis(n):
        m = -(-n // 2)
        P = np.zeros((n, m))
        for i in range(n):
            near, other = i // 2, i // 2 + (1 if i % 2 else -1)
            P[i, near] += 0.75 if 0 <= other < m else 1
            if 0 <= other < m:
                P[i, other] += 0.25
        return P

    P = np.kron(axis(13), axis(10))
    cells = coarse.cells.ravel()
    assert 0 < cells.sum() < cells.size
    P = P[hole.ravel()][:, cells]
    np.testing.assert_allclose(dense(coarse), P.T @ dense(fine) @ P, atol=1e-5)


def test_a_cycle_is_symmetric_and_positive(rng):
    """What conjugate gradients need of a preconditioner."""
    hole = np.zeros((24, 24), bool)
    hole[3:20, 4:22] = True
    hole[10, 10] = False
    n = int(hole.sum())
    for power in (1, 2):
        grids = Hierarchy(hole, 1, power)
        M = np.empty((n, n))
        top = grids.levels[0]
        for i in range(n):
            right_hand_side = np.zeros((n, 1), np.float32)
            right_hand_side[i] = 1
            top.b.transpose(0, 2, 1)[top.inside != 0] = right_hand_side
            grids.cycle()
            M[i] = top.x[0, top.positions()[top.inside != 0]]
        np.testing.assert_allclose(M, M.T, atol=2e-5 * np.abs(M).max())
        assert np.linalg.eigvalsh((M + M.T) / 2).min() > 0


def test_the_number_of_steps_does_not_grow_with_the_hole(rng, monkeypatch):
    steps = []
    smooth = Hierarchy.smooth
    monkeypatch.setattr(
        Hierarchy,
        "smooth",
        lambda self, level, **how: (steps.extend([1] * (level is self.levels[0])), smooth(self, level, **how)),
    )
    counts = []
    for side in (24, 96, 384):
        image, hole = picture((side + 8, side + 8, 1), rng), np.zeros((side + 8, side + 8), bool)
        hole[4:-4, 4:-4] = True
        steps.clear()
        solve(np.where(hole[..., None], np.float32(0), image), hole, 2, Job())
        counts.append(len(steps) / 2)  # before and after the coarser grids
    assert max(counts) <= 16, counts


def test_stencil_at_the_edges():
    for shape in ((1, 1), (2, 7), (5, 5), (6, 9)):
        A = np.linalg.matrix_power(laplacian(shape), 2).reshape(*shape, *shape)
        table, rows, columns = stencil.table(shape, 2), stencil.kind_of(shape[0]), stencil.kind_of(shape[1])
        for i in range(shape[0]):
            for j in range(shape[1]):
                for y in range(5):
                    for x in range(5):
                        v, u = i + y - 2, j + x - 2
                        inside = 0 <= v < shape[0] and 0 <= u < shape[1]
                        assert table[rows[i], columns[j], y, x] == (A[i, j, v, u] if inside else 0)


@pytest.mark.parametrize("method", DIFFUSION)
def test_same_bits_for_every_number_of_threads(method, rng):
    image = (picture((150, 170, 3), rng) * 255).astype(np.uint8)
    hole = np.zeros((150, 170), bool)
    hole[20:130, 30:150] = rng.random((110, 120)) < 0.9
    one, two = (inpaint(image, hole, method, threads=n).image for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("method", DIFFUSION)
def test_a_constant_stays_constant_and_a_photo_is_guessed(method, rng):
    flat = np.full((40, 40, 3), (10, 120, 240), np.uint8)
    hole = np.zeros((40, 40), bool)
    hole[8:30, 5:40] = True
    np.testing.assert_array_equal(inpaint(flat, hole, method).image, flat)
    image = (picture((60, 80, 3), rng) * 255).astype(np.uint8)
    scattered = rng.random((60, 80)) < 0.3
    error = inpaint(image, scattered, method).image[scattered].astype(float) - image[scattered]
    assert np.sqrt(np.mean(error**2)) < 12, method


def test_biharmonic_continues_a_slope_and_harmonic_does_not_leave_the_known_values(rng):
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 50, dtype=np.float32)[None, :, None], (30, 50, 1)).copy()
    hole = np.zeros((30, 50), bool)
    hole[5:25, 10:40] = True
    damaged = np.where(hole[..., None], np.float32(0), ramp)
    np.testing.assert_allclose(solve(damaged, hole, 2, Job("best")), ramp, atol=1e-4)
    image = rng.random((30, 50, 3)).astype(np.float32)
    filled = solve(np.where(hole[..., None], np.float32(0), image), hole, 1, Job("best"))[hole]
    assert filled.min() >= image[~hole].min() - 1e-5
    assert filled.max() <= image[~hole].max() + 1e-5


def test_a_method_sees_the_same_in_its_margin_as_in_the_whole_image(rng):
    """What is cut away around the hole has no influence."""
    image = (picture((70, 80, 3), rng) * 255).astype(np.uint8)
    hole = np.zeros((70, 80), bool)
    hole[30:44, 33:50] = rng.random((14, 17)) < 0.8
    for name in DIFFUSION:
        image32 = np.where(hole[..., None], np.float32(0), image.astype(np.float32) / 255)
        whole = METHODS[name].fill(image32, hole, Job())
        expected = np.rint(whole[hole].clip(0, 1) * 255).astype(int)
        assert np.abs(inpaint(image, hole, name).image[hole].astype(int) - expected).max() <= 1, name


def test_time_runs_out_with_the_best_so_far(rng):
    image = picture((300, 300, 3), rng)
    hole = np.zeros((300, 300), bool)
    hole[10:290, 10:290] = True
    damaged = np.where(hole[..., None], np.float32(0), image)
    job = Job("best", deadline=time.monotonic())
    rough = solve(damaged, hole, 1, job)
    fine = solve(damaged, hole, 1, Job("best"))
    assert 1e-5 < np.abs(rough - fine).max() < 0.5


def test_progress_grows_to_the_end(rng):
    image = (picture((120, 120, 3), rng) * 255).astype(np.uint8)
    hole = np.zeros((120, 120), bool)
    hole[5:110, 5:110] = True
    for name in DIFFUSION:
        seen = []
        inpaint(image, hole, name, progress=seen.append)
        assert seen == sorted(seen), name
        assert seen[-1] == 1, name


@pytest.mark.parametrize("method", ["telea", "navier-stokes"])
def test_marching_stops_when_time_is_up(method, rng, monkeypatch, time_for):
    """From the edge inwards some is filled as with all the time in the world, the rest is spread from there."""
    from dlkit.inpaint.marching import front

    monkeypatch.setattr(front, "CHUNK", 500)
    image = picture((90, 80, 3), rng)
    hole = np.zeros((90, 80), bool)
    hole[10:80, 10:70] = True
    damaged = np.where(hole[..., None], np.float32(0), image)
    whole = METHODS[method].fill(damaged, hole, Job())
    looks = next(n for n in range(1000) if (METHODS[method].fill(damaged, hole, time_for(n)) == whole).all())
    shares = []
    for n in range(looks + 1):
        filled = METHODS[method].fill(damaged, hole, time_for(n))
        assert np.isfinite(filled).all()
        np.testing.assert_allclose(filled[~hole], image[~hole], atol=1e-6)
        assert filled[hole].min() >= image[~hole].min() - 1e-3
        shares.append((filled == whole)[hole].all(axis=1).mean())
    assert looks > 10  # the order, and then the filling, in pieces
    assert shares[0] < 0.01
    assert (np.diff(shares[-6:]) > 0.02).all()  # piece after piece, in the order of a whole filling
    assert shares[-1] == 1
