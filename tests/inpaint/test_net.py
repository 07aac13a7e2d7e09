"""Filling by a trained network: fed as it was trained, in tiles, from coarse to fine."""

import itertools
import json
import time

import numpy as np
import pytest
from dlkit.cli.main import run as run_cli
from PIL import Image

from dlkit.errors import CheckpointError, ConfigError
from dlkit.inpaint import Job, inpaint, tiles
from dlkit.inpaint.choose import BEST, choose
from dlkit.inpaint.methods import net
from dlkit.inpaint.spread import spread
from dlkit.train import TrainConfig, Trainer


def waves(size, seed=0, channels=3):
    i, j = np.indices(size)
    colours = np.array([1.0, 0.7, 0.4])[:channels]
    wave = np.sin((i + 0.6 * j) / 3 + seed)[..., None]
    return np.rint(255 * (0.5 + 0.4 * wave * colours)).astype(np.uint8)


def trained(folder, grey=False):
    """A run of a few steps: what it fills is not good, but a network's."""
    (folder / "photos").mkdir(parents=True)
    for k in range(4):
        Image.fromarray(waves((40, 40), k)).save(folder / "photos" / f"{k}.png")
    config = {
        "task": "inpaint",
        "data": str(folder / "photos"),
        "out": str(folder / "run"),
        "crop_size": 32,
        "depth": 2,
    }
    rest = {"width": 4, "epochs": 3, "lr": 0.02, "test_split": 0.0, "val_split": 0.0, "threads": 1, "grey": grey}
    Trainer(TrainConfig.from_dict({**config, **rest})).fit()
    return str(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("colour"))


@pytest.fixture(scope="module")
def grey_run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("grey"), grey=True)


@pytest.fixture
def hole():
    hole = np.zeros((50, 60), bool)
    hole[10:20, 15:30] = hole[30:33, 5:50] = True
    return hole


def test_known_pixels_stay_and_the_hole_is_the_networks(run, hole):
    image = waves(hole.shape)
    result = inpaint(image, hole, "net", weights=run, threads=1)
    np.testing.assert_array_equal(result.image[~hole], image[~hole])
    blur = spread(image / np.float32(255), hole)[hole]
    assert np.abs(result.image[hole] / 255 - blur).max() > 0.02  # three epochs moved it away from where it began


def test_weights_alone_mean_the_network(run, hole):
    image = waves(hole.shape)
    result = inpaint(image, hole, weights=run, threads=1)
    assert result.method == "net"
    assert "by the network given" in result.reason
    np.testing.assert_array_equal(result.image, inpaint(image, hole, "net", weights=run, threads=1).image)


def test_without_weights_auto_never_takes_it(hole):
    assert choose(hole, Job())[0] != "net"
    assert all("net" not in names for names in BEST.values())


def test_a_photo_of_greys_by_a_network_of_colours(run, hole):
    grey = waves(hole.shape)[..., 0]
    filled = inpaint(grey, hole, "net", weights=run).image
    colours = inpaint(np.repeat(grey[..., None], 3, axis=2), hole, "net", weights=run).image
    np.testing.assert_allclose(filled[hole], colours[hole].mean(axis=1), atol=1)


def test_a_photo_of_colours_by_a_network_of_greys(grey_run, hole):
    image = waves(hole.shape)
    filled = inpaint(image, hole, "net", weights=grey_run).image
    for c in range(3):
        np.testing.assert_array_equal(filled[..., c], inpaint(image[..., c], hole, "net", weights=grey_run).image)


def test_sixteen_bits_are_the_same_filling_only_finer(run, hole):
    image = waves(hole.shape)
    fine = inpaint(image.astype(np.uint16) * 257, hole, "net", weights=run).image
    np.testing.assert_allclose(fine / 257, inpaint(image, hole, "net", weights=run).image, atol=0.51)
    assert (fine[hole] % 257 != 0).any()


def test_same_bytes_for_any_number_of_threads(run, hole):
    image = waves(hole.shape)
    one, two = (inpaint(image, hole, "net", weights=run, threads=n).image for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_best_is_the_mean_of_the_photo_and_its_mirror_image(run, hole):
    image = waves(hole.shape).astype(np.float32) / 255
    best = inpaint(image, hole, "net", weights=run, quality="best").image
    turned = inpaint(image[:, ::-1], hole[:, ::-1], "net", weights=run, quality="best").image[:, ::-1]
    np.testing.assert_allclose(best, turned, atol=1e-5)
    once = inpaint(image, hole, "net", weights=run).image
    assert np.abs(best - once)[hole].max() > 1e-3


# -- tiles -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 383, 384, 385, 700, 704, 705, 2000])
def test_tiles_cover_everything_and_overlap(length):
    starts = tiles.starts(length)
    assert starts[0] == 0
    assert starts[-1] + tiles.TILE >= length
    for a, b in itertools.pairwise(starts):
        assert tiles.OVERLAP <= a + tiles.TILE - b < tiles.TILE
    assert length <= tiles.TILE or starts[-1] + tiles.TILE == length


def test_tiles_that_agree_leave_no_seam_and_only_holes_are_looked_at(rng):
    truth = rng.random((900, 500, 2)).astype(np.float32)
    hole = np.zeros((900, 500), bool)
    hole[300:420, 100:450] = True
    seen = []

    def fill(image, inside):
        seen.append(inside.shape)
        return np.full_like(image, 0.25)

    filled = tiles.in_tiles(np.where(hole[..., None], 0, truth), hole, fill, Job(), 0.0)
    np.testing.assert_allclose(filled[hole], 0.25, atol=1e-6)
    np.testing.assert_array_equal(filled[~hole], truth[~hole])
    assert len(seen) == 4  # of six


def test_where_tiles_differ_one_fades_into_the_next():
    hole = np.ones((100, 600), bool)
    values = iter((0.0, 1.0))
    filled = tiles.in_tiles(np.zeros((100, 600, 1), np.float32), hole, lambda x, h: x + next(values), Job(), 0.0)
    row = filled[50, :, 0]
    assert row[0] == 0
    assert row[-1] == 1
    assert (np.diff(row) >= -1e-6).all()
    assert np.diff(row).max() < 0.05


# -- from coarse to fine -----------------------------------------------------------------------------------------------------


def test_halving_averages_what_is_known(rng):
    image, hole = rng.random((5, 4, 3)).astype(np.float32), rng.random((5, 4)) < 0.5
    hole[0:2, 0:2] = True
    coarse, unknown = net.halved(image, hole)
    assert coarse.shape == (3, 2, 3)
    for i, j in np.ndindex(3, 2):
        block = image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2][~hole[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]]
        assert unknown[i, j] == (len(block) == 0)
        if len(block):
            np.testing.assert_allclose(coarse[i, j], block.mean(axis=0), rtol=1e-5)


def test_the_middle_of_a_deep_hole_comes_from_a_smaller_photo(run):
    """A network that reaches 8 pixels, a hole 30 deep: without the coarse one its middle would be as at the start."""
    hole = np.zeros((90, 100), bool)
    hole[15:75, 20:80] = True
    sizes = []
    network = net.Network.load(run, Job(weights=run))
    assert network.reach == 8

    def spy(image, inside):
        sizes.append((image.shape[:2], net.distance(inside).max()))
        return network(image, inside)

    class Spy:
        reach = network.reach

        def __call__(self, image, inside):
            return spy(image, inside)

    filled = net.coarse_to_fine(waves(hole.shape).astype(np.float32) / 255, hole, Spy(), Job())
    assert [size for size, _ in sizes] == [(23, 25), (45, 50), (90, 100)]
    assert all(depth <= 8 for _, depth in sizes)
    assert np.isfinite(filled).all()


def test_a_hole_of_nearly_everything(run):
    hole = np.ones((70, 80), bool)
    hole[3, 5] = False
    result = inpaint(waves(hole.shape), hole, "net", weights=run)
    assert np.ptp(result.image[hole]) < 255


# -- time and mistakes -------------------------------------------------------------------------------------------------------


def test_when_time_is_up_the_rest_is_a_blur(run, hole):
    image = waves(hole.shape).astype(np.float32) / 255
    image[hole] = 0
    late = net.net(image, hole, Job(weights=run, deadline=time.monotonic() - 1))
    np.testing.assert_allclose(late[hole], spread(image, hole)[hole], atol=1e-6)


def test_when_time_is_up_on_the_way_to_the_full_size_the_coarse_filling_is_enlarged(run):
    image, hole = waves((90, 100)).astype(np.float32) / 255, np.zeros((90, 100), bool)
    hole[15:75, 20:80] = True
    image[hole] = 0
    network = net.Network.load(run, Job(weights=run))

    class UpAfterTwoTiles(Job):
        tiles = 0

        def expired(self):
            return self.tiles >= 2

    job, seen = UpAfterTwoTiles(), []

    class Counting:
        reach = network.reach

        def __call__(self, part, inside):
            job.tiles += 1
            seen.append(network(part, inside))
            return seen[-1]

    filled = net.coarse_to_fine(image, hole, Counting(), job)
    assert [x.shape[:2] for x in seen] == [(23, 25), (45, 50)]
    half, unknown = net.halved(image, hole)
    at_once = net.coarse_to_fine(half, unknown, network, Job())
    np.testing.assert_allclose(filled[hole], net.enlarged(at_once, hole.shape)[hole], atol=1e-5)
    np.testing.assert_array_equal(filled[~hole], image[~hole])


def test_without_weights_it_says_how_to_get_some(hole):
    with pytest.raises(
        ConfigError, match="method 'net' needs a network: give --weights RUN; `dlkit train --task inpaint`"
    ):
        inpaint(waves(hole.shape), hole, "net")


def test_the_command(run, tmp_path, hole, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(waves(hole.shape)).save("photo.png")
    Image.fromarray(hole.astype(np.uint8) * 255).save("mask.png")
    assert run_cli(["inpaint", "photo.png", "mask.png", "--weights", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "net"
    config = TrainConfig(model="logistic", epochs=1, out=str(tmp_path / "digits"), threads=1)
    Trainer(config).fit()
    for weights, says in (("digits", "a network of `dlkit train --task classify`"), ("nowhere", "no such run folder")):
        assert run_cli(["inpaint", "photo.png", "mask.png", "--weights", weights]) == CheckpointError.exit_code
        said = capsys.readouterr().err
        assert says in said
        assert len(said.splitlines()) == 1
