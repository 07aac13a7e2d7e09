"""`dlkit inpaint` as a user meets it: what it says, what it refuses, what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from dlkit.cli.main import run as run_cli
from PIL import Image


class Outcome:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def dlkit(capsys, tmp_path, monkeypatch):
    """Runs the command line in this process, in an empty folder: dlkit("inpaint", ...) -> code, out, err."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        capsys.readouterr()
        code = run_cli(["inpaint", *map(str, args)])
        out, err = capsys.readouterr()
        return Outcome(
            code, out, "\n".join(line for line in err.splitlines() if not line.startswith("numba: compiled"))
        )

    return call


def read(path):
    with Image.open(path) as image:
        return np.array(image)


def test_one_command_one_line(dlkit, tmp_path, photo_of, mask_of):
    pixels, hole = photo_of(tmp_path / "photo.png"), mask_of(tmp_path / "mask.png")
    outcome = dlkit("photo.png", "mask.png")
    assert (outcome.code, outcome.err) == (0, "")
    assert len(outcome.out.splitlines()) == 1
    assert outcome.out.startswith("photo.inpainted.png: 12.50 % of the image filled by ")
    np.testing.assert_array_equal(read("photo.inpainted.png")[~hole], pixels[~hole])


def test_json_is_one_object_and_nothing_else(dlkit, tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "photo.png")
    mask_of(tmp_path / "mask.png")
    outcome = dlkit("photo.png", "mask.png", "--json", "-o", "out.png", "--method", "telea")
    report = json.loads(outcome.out)
    assert {"method", "reason", "seconds", "hole_fraction", "output"} <= set(report)
    assert (report["method"], report["output"], report["hole_fraction"]) == ("telea", "out.png", 0.125)


def test_invert_grow_and_resize(dlkit, tmp_path, photo_of, mask_of):
    pixels = photo_of(tmp_path / "photo.png")
    hole = mask_of(tmp_path / "mask.png")
    Image.fromarray(np.where(hole, 0, 255).astype(np.uint8)).save(tmp_path / "inverse.png")
    dlkit("photo.png", "mask.png", "-o", "a.png", "--method", "harmonic")
    dlkit("photo.png", "inverse.png", "-o", "b.png", "--method", "harmonic", "--invert-mask")
    np.testing.assert_array_equal(read("a.png"), read("b.png"))
    assert json.loads(dlkit("photo.png", "inverse.png", "--json").out)["hole_fraction"] == 0.875
    grown = json.loads(dlkit("photo.png", "mask.png", "--grow", 2, "--json").out)
    # 8×12 pixels, two more on each side, without the corners farther away than 2
    assert round(grown["hole_fraction"] * pixels[..., 0].size) == 12 * 16 - 4 * 3
    Image.fromarray(hole[::2, ::2].astype(np.uint8) * 255).save(tmp_path / "small.png")
    refused = dlkit("photo.png", "small.png")
    assert refused.code == 2
    assert (
        "small.png: the mask is 16×12, the image 32×24; give a mask of the same size, or --resize-mask" in refused.err
    )
    dlkit("photo.png", "small.png", "--resize-mask", "-o", "c.png", "--method", "harmonic")
    np.testing.assert_array_equal(read("a.png"), read("c.png"))


def test_feather_blends_inside_only_and_fully_deep_inside(dlkit, tmp_path, photo_of, mask_of):
    pixels, hole = photo_of(tmp_path / "photo.png"), mask_of(tmp_path / "mask.png")
    dlkit("photo.png", "mask.png", "-o", "sharp.png", "--method", "harmonic")
    dlkit("photo.png", "mask.png", "-o", "soft.png", "--method", "harmonic", "--feather", 2)
    sharp, soft = (read(name).astype(float) for name in ("sharp.png", "soft.png"))
    np.testing.assert_array_equal(soft[~hole], pixels[~hole])
    np.testing.assert_array_equal(soft[8:12, 10:18], sharp[8:12, 10:18])  # three pixels from the edge
    rim = np.s_[6, 8:20]
    np.testing.assert_allclose(soft[rim], sharp[rim] / 3 + pixels[rim] * (2 / 3), atol=1)


def test_alpha_as_mask_fills_what_is_transparent_and_makes_it_opaque(dlkit, tmp_path, photo_of):
    pixels = photo_of(tmp_path / "photo.png", "RGBA")
    pixels[..., 3] = 255
    pixels[5:12, 8:20, 3] = 0
    pixels[20, :, 3] = 200  # half transparent stays as it is
    pixels[5:12, 8:20, :3] = 77
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    assert dlkit("photo.png", "--mask", "alpha").code == 0
    filled = read("photo.inpainted.png")
    hole = pixels[..., 3] < 128
    np.testing.assert_array_equal(filled[~hole], pixels[~hole])
    assert (filled[hole][:, 3] == 255).all()
    assert (filled[hole][:, :3] != 77).mean() > 0.8
    photo_of(tmp_path / "opaque.png")
    refused = dlkit("opaque.png", "--mask", "alpha")
    assert refused.code == 2
    assert "opaque.png: has no transparent part" in refused.err


def test_preview_shows_before_mask_after(dlkit, tmp_path, photo_of, mask_of):
    pixels, hole = photo_of(tmp_path / "photo.png"), mask_of(tmp_path / "mask.png")
    dlkit("photo.png", "mask.png", "--preview", "look.png")
    look = read("look.png")
    assert look.shape == (24, 3 * 32 + 2 * 8, 3)
    np.testing.assert_array_equal(look[:, :32], pixels)
    np.testing.assert_array_equal(look[:, 40:72, 0] == 255, hole)
    np.testing.assert_array_equal(look[:, 80:], read("photo.inpainted.png"))


def test_an_empty_mask_copies_and_says_so(dlkit, tmp_path, photo_of):
    pixels = photo_of(tmp_path / "photo.png")
    Image.new("L", (32, 24), 127).save(tmp_path / "mask.png")
    outcome = dlkit("photo.png", "mask.png")
    assert outcome.code == 0
    assert outcome.out == "photo.inpainted.png: the mask is empty: the image is copied\n"
    np.testing.assert_array_equal(read("photo.inpainted.png"), pixels)


def refuse(name, *args, says, code):
    return pytest.param(args, says, code, id=name)


@pytest.mark.parametrize(
    ("args", "says", "code"),
    [
        refuse("no mask", "photo.png", says="give one mask", code=2),
        refuse("two masks", "photo.png", "mask.png", "--mask", "mask.png", says="give one mask", code=2),
        refuse("missing image", "nowhere.png", "mask.png", says="nowhere.png: cannot be read", code=1),
        refuse("missing mask", "photo.png", "nowhere.png", says="nowhere.png: cannot be read", code=1),
        refuse("text as image", "words.txt", "mask.png", says="words.txt: not a readable image (no known", code=1),
        refuse("text as mask", "photo.png", "words.txt", says="words.txt: not a readable image (no known", code=1),
        refuse("empty file", "empty.png", "mask.png", says="empty.png: not a readable image", code=1),
        refuse("all masked", "photo.png", "white.png", says="covers the whole image", code=1),
        refuse("unknown method", "photo.png", "mask.png", "--method", "teela", says="did you mean 'telea'", code=2),
        refuse("unknown format", "photo.png", "mask.png", "-o", "out.gif", says="use one of .png", code=2),
        refuse("no extension", "photo.png", "mask.png", "-o", "out", says="use one of .png", code=2),
        refuse("over the image", "photo.png", "mask.png", "-o", "photo.png", says="would overwrite photo.png", code=2),
        refuse("over the mask", "photo.png", "mask.png", "-o", "./mask.png", says="would overwrite mask.png", code=2),
        refuse(
            "preview over result", "photo.png", "mask.png", "-o", "a.png", "--preview", "a.png", says="a.png", code=2
        ),
        refuse("no such folder", "photo.png", "mask.png", "-o", "no/out.png", says="folder does not exist", code=1),
        refuse("a folder as output", "photo.png", "mask.png", "-o", "d.png", says="d.png: is a folder", code=1),
        refuse("mask folder, one image", "photo.png", "d.png", says="is a folder of masks", code=2),
        refuse("folder without -o", "d.png", "mask.png", says="give a folder for the results with -o", code=2),
        refuse("folder without images", "d.png", "mask.png", "-o", "out", says="holds no images", code=1),
        refuse("device", "photo.png", "mask.png", "--device", "tpu", says="no backend for device 'tpu'", code=1),
        refuse("iterations", "photo.png", "mask.png", "--iterations", "0", says="--iterations", code=2),
        refuse("timeout", "photo.png", "mask.png", "--timeout", "-1", says="--timeout", code=2),
    ],
)
def test_a_wrong_call_is_one_line(dlkit, tmp_path, photo_of, mask_of, args, says, code):
    photo_of(tmp_path / "photo.png")
    mask_of(tmp_path / "mask.png")
    (tmp_path / "words.txt").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "d.png").mkdir()
    Image.new("L", (32, 24), 255).save(tmp_path / "white.png")
    before = sorted(p.name for p in tmp_path.iterdir())
    outcome = dlkit(*args)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("dlkit: ")
    assert len(outcome.err.splitlines()) == 1
    assert says in outcome.err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_help_lists_every_method(dlkit):
    from dlkit.inpaint import METHODS

    text = dlkit("--help").out
    assert all(f"  {name} " in text for name in METHODS)


@pytest.fixture
def folders(tmp_path, photo_of, mask_of):
    for name in ("a.jpg", "b.png", "c.png"):
        photo_of(tmp_path / "photos" / name)
        mask_of(tmp_path / "masks" / f"{name[0]}.png")
    return tmp_path


def test_folder_pairs_by_name_and_goes_on_where_it_was_stopped(dlkit, folders, photo_of):
    (folders / "masks" / "b.png").rename(folders / "masks" / "b_mask.png")
    outcome = dlkit("photos", "masks", "-o", "out", "--method", "harmonic")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == "out: 3 filled, 0 failed"
    assert sorted(os.listdir("out")) == ["a.png", "b.png", "c.png"]
    first = {name: (folders / "out" / name).read_bytes() for name in os.listdir("out")}
    single = dlkit("photos/b.png", "masks/b_mask.png", "-o", "b.png", "--method", "harmonic")
    assert single.code == 0
    np.testing.assert_array_equal(read("b.png"), read("out/b.png"))

    (folders / "out" / "b.png").unlink()
    again = dlkit("photos", "masks", "-o", "out", "--method", "harmonic")
    assert "out: 1 filled, 2 done before" in again.out
    assert {name: (folders / "out" / name).read_bytes() for name in os.listdir("out")} == first

    later = time.time() + 5
    os.utime(folders / "photos" / "a.jpg", (later, later))  # changed since
    assert "out: 1 filled, 2 done before" in dlkit("photos", "masks", "-o", "out", "--method", "harmonic").out


def test_folder_says_at_the_end_what_failed(dlkit, folders):
    (folders / "photos" / "b.png").write_bytes(b"not a picture")
    (folders / "masks" / "c.png").unlink()
    outcome = dlkit("photos", "masks", "-o", "out", "--json", "--method", "harmonic", "--threads", 1)
    report = json.loads(outcome.out)
    assert outcome.code == 1
    assert (report["filled"], report["failed"]) == (1, 2)
    assert os.listdir("out") == ["a.png"]
    lines = outcome.err.splitlines()
    assert len(lines) == 2
    assert any("c.png: no mask of this name in masks; add c.png" in line for line in lines)
    assert any("b.png: not a readable image" in line for line in lines)


def test_one_mask_for_a_folder(dlkit, folders):
    report = json.loads(dlkit("photos", "masks/a.png", "-o", "out", "--json", "--method", "telea", "--threads", 1).out)
    assert (report["filled"], report["skipped"], report["failed"]) == (3, 0, 0)
    assert {f["hole_fraction"] for f in report["files"]} == {0.125}


def test_photos_and_masks_in_one_folder(dlkit, tmp_path, photo_of, mask_of):
    (tmp_path / "all").mkdir()
    photo_of(tmp_path / "all" / "a.png")
    mask_of(tmp_path / "all" / "a_mask.png")
    photo_of(tmp_path / "all" / "b.png")
    report = json.loads(dlkit("all", "all", "-o", "out", "--json", "--method", "harmonic", "--threads", 1).out)
    assert (report["filled"], report["failed"]) == (1, 1)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


def test_two_masks_of_one_name(dlkit, folders, mask_of):
    mask_of(folders / "masks" / "a.bmp")
    outcome = dlkit("photos", "masks", "-o", "out")
    assert outcome.code == 2
    assert "which is the mask of a?" in outcome.err


def test_a_photo_is_not_its_own_mask(dlkit, tmp_path, photo_of):
    photo_of(tmp_path / "photo.png")
    outcome = dlkit("photo.png", "./photo.png")
    assert (outcome.code, "is the image itself" in outcome.err) == (2, True)


def test_one_mask_that_cannot_be_read_is_said_once(dlkit, folders, tmp_path):
    outcome = dlkit("photos", "nope.png", "-o", "new")
    assert outcome.code != 0
    assert outcome.err.count("nope.png") == 1
    assert not (tmp_path / "new").exists()


def test_a_write_protected_file_is_left_alone(dlkit, tmp_path, photo_of, mask_of, monkeypatch):
    photo_of(tmp_path / "photo.png")
    mask_of(tmp_path / "mask.png")
    (tmp_path / "mine.png").write_bytes(b"mine")
    access = os.access  # who runs this may be allowed everything

    def protected(path, mode, **where):
        return not (mode == os.W_OK and str(path).endswith("mine.png")) and access(path, mode, **where)

    monkeypatch.setattr(os, "access", protected)
    outcome = dlkit("photo.png", "mask.png", "-o", "mine.png", "--method", "harmonic")
    assert (outcome.code, outcome.err.count("write-protected")) == (1, 1)
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_more_threads_than_any_machine_has(dlkit, tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "photo.png")
    mask_of(tmp_path / "mask.png")
    outcome = dlkit("photo.png", "mask.png", "--threads", 99999)
    assert outcome.code == 2
    assert "99999" in outcome.err


def test_folder_refuses_to_write_among_its_sources(dlkit, folders, photo_of):
    for out in ("photos", "masks", "./photos/"):
        refused = dlkit("photos", "masks", "-o", out)
        assert refused.code == 2
        assert "among what they are made from" in refused.err
    photo_of(folders / "photos" / "a.png")
    clash = dlkit("photos", "masks", "-o", "out")
    assert clash.code == 2
    assert "both results would be a.png" in clash.err


def started(command, folder, **options):
    """A process that Ctrl-C reaches, also where the tests themselves run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_no_half_written_file(tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "photo.png", size=(1500, 1500))
    mask_of(tmp_path / "mask.png", (1500, 1500), (slice(20, 1480), slice(20, 1480)))
    command = "from dlkit.cli.main import main; main()"
    args = ["inpaint", "photo.png", "mask.png", "--method", "biharmonic", "--quality", "best"]
    process = started([sys.executable, "-c", command, *args], tmp_path)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "dlkit: interrupted"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.png", "photo.png"]


def test_ctrl_c_in_a_folder_stops_all_and_keeps_what_is_whole(tmp_path, photo_of, mask_of):
    for i in range(4):
        photo_of(tmp_path / "photos" / f"{i}.png", size=(1200, 1200))
    mask_of(tmp_path / "mask.png", (1200, 1200), (slice(20, 1180), slice(20, 1180)))
    command = "from dlkit.cli.main import main; main()"
    args = [
        "inpaint",
        "photos",
        "mask.png",
        "-o",
        "out",
        "--method",
        "biharmonic",
        "--quality",
        "best",
        "--threads",
        "2",
    ]
    process = started([sys.executable, "-c", command, *args], tmp_path, start_new_session=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)  # some of its processes are still importing
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "dlkit: interrupted"
    assert "Traceback" not in said
    for path in (tmp_path / "out").iterdir():
        assert read(path).shape == (1200, 1200, 3)
