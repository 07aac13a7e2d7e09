"""Published weights from a server on this machine: by name and checksum, recorded where none is known, safetensors only."""

import functools
import hashlib
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from dlkit.errors import ConfigError, DataError
from dlkit.models import MODELS
from dlkit.weights import fetch
from dlkit.weights.published import PUBLISHED, Published

FILE = save({"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3)})


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path):
    """(folder, address)"""
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def known(monkeypatch):
    """Published weights whose checksum is that of FILE, and some whose checksum is not known."""
    for name, digest in (("known", hashlib.sha256(FILE).hexdigest()), ("unknown", None)):
        monkeypatch.setitem(PUBLISHED, name, Published(name, "resnet18", digest))


def test_what_is_fetched_is_checked_and_found_again(mirror, known, cache):
    (mirror[0] / "known.safetensors").write_bytes(FILE)
    assert fetch.find("known") is None
    got = fetch.get("known", mirror=mirror[1], into=cache)
    assert (got.bytes, got.sha256, got.first) == (len(FILE), hashlib.sha256(FILE).hexdigest(), False)
    assert fetch.find("known").read_bytes() == FILE
    (mirror[0] / "known.safetensors").unlink()
    assert fetch.get("known", mirror=mirror[1], into=cache).file == got.file  # not asked for again


def test_a_wrong_file_is_refused_and_not_kept(mirror, known, cache):
    (mirror[0] / "known.safetensors").write_bytes(FILE[:-1] + b"x")
    with pytest.raises(DataError, match="wrong checksum"):
        fetch.get("known", mirror=mirror[1], into=cache)
    assert fetch.find("known") is None


def test_a_checksum_that_is_not_known_is_recorded_and_expected_from_then_on(mirror, known, cache):
    (mirror[0] / "unknown.safetensors").write_bytes(FILE)
    first = fetch.get("unknown", mirror=mirror[1], into=cache)
    assert first.first
    assert not fetch.get("unknown", mirror=mirror[1], into=cache).first
    fetch.find("unknown").unlink()
    (mirror[0] / "unknown.safetensors").write_bytes(save({"other": np.zeros(3)}))
    with pytest.raises(DataError, match="wrong checksum"):
        fetch.get("unknown", mirror=mirror[1], into=cache)


def test_what_is_no_safetensors_file_is_never_kept(mirror, known, cache):
    """A page that says the file is gone, or a pickle, under the right name."""
    import pickle

    for content in (b"<html>moved</html>", pickle.dumps({"fc.weight": [1.0]})):
        (mirror[0] / "unknown.safetensors").write_bytes(content)
        with pytest.raises(DataError, match="no safetensors file"):
            fetch.get("unknown", mirror=mirror[1], into=cache)
        assert list(cache.iterdir()) == []


def test_the_published_address_is_asked_without_a_mirror(known, cache, monkeypatch):
    asked = []
    monkeypatch.setattr(fetch, "fetch", lambda *args, **options: asked.append((args, options)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fetch.get("known", into=cache)
    ((bases, name, _, digest), options) = asked[0]
    assert f"{bases[0]}/{options['remote']}" == PUBLISHED["known"].address
    assert (name, digest) == ("known.safetensors", hashlib.sha256(FILE).hexdigest())


def test_the_list_is_sound():
    for name, weights in PUBLISHED.items():
        assert weights.name == name
        assert weights.address == f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
        assert weights.sha256 is None or (len(weights.sha256) == 64 and int(weights.sha256, 16))
        entry = MODELS[weights.model]
        assert set(weights.options) <= set(entry.options)
    digests = [w.sha256 for w in PUBLISHED.values() if w.sha256]
    assert len(set(digests)) == len(digests) > 8


def test_the_command_lists_and_gets(dlkit, mirror, known, cache, monkeypatch):
    (mirror[0] / "unknown.safetensors").write_bytes(FILE)
    listed = json.loads(dlkit("weights", "list", "--json").out)["weights"]
    assert {w["name"]: w["sha256"] for w in listed} == {n: w.sha256 for n, w in PUBLISHED.items()}
    assert all(w["address"].startswith("https://") for w in listed)
    assert "unknown" in dlkit("weights", "list").out
    got = dlkit("weights", "get", "unknown", "--mirror", mirror[1])
    assert got.code == 0, got.err
    assert "its checksum was not known; from now on this one is expected" in got.out
    assert got.err == ""
    assert json.loads(dlkit("weights", "get", "unknown", "--mirror", mirror[1], "--json").out)["first"] is False
    for args, code, said in (
        (["get"], 2, "needs the NAME"),
        (["list", "x"], 2, "neither a name"),
        (["get", "resnet18"], 2, "did you mean 'resnet18.a1_in1k'"),
        (["get", "known", "--mirror", mirror[1]], 1, "answered 404"),
        (["get", "known", "--mirror", "ftp://x"], 2, "no http:// or https:// address"),
    ):
        refused = dlkit("weights", *args)
        assert (refused.code, refused.out) == (code, ""), args
        assert refused.err.count("\n") == 1
        assert said in refused.err


def test_fetched_weights_are_started_from_by_name(cache, monkeypatch, tmp_path):
    """Network, size and normalisation are those of the published weights; before they are fetched, that is said."""
    from dlkit.train.origin import open_origin

    known = Published(
        "tiny", "cnn", None, image_size=16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), options={"width": 4}
    )
    monkeypatch.setitem(PUBLISHED, "tiny", known)
    with pytest.raises(ConfigError, match="not on this machine yet; fetch it with: dlkit weights get tiny"):
        open_origin("tiny")
    cache.mkdir()
    save_file({"x": np.zeros(1, np.float32)}, cache / "tiny.safetensors")
    origin = open_origin("tiny")
    from dlkit.train import TrainConfig

    config = origin.adapted(TrainConfig(from_model="tiny"))
    assert (config.model, config.width, config.image_size, config.grey) == ("cnn", 4, 16, False)
    assert origin.normalizer.mean.tolist() == [0.1, 0.2, 0.3]
    with pytest.raises(ConfigError, match=r"model \(=mlp\) was given, but tiny is for cnn"):
        origin.adapted(TrainConfig(from_model="tiny", model="mlp"))
