"""Downloads from a server on this machine that behaves, breaks off, lies or refuses."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import making
import numpy as np
import pooch
import pytest

from dlkit.data import load
from dlkit.data.download import fetch
from dlkit.data.names import KNOWN, File, Known
from dlkit.errors import ConfigError, DataError

PAYLOAD = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


class Server:
    """Serves `files`. The first `breaks` answers end half way; `ranges` says whether Range is honoured."""

    def __init__(self):
        self.files = {"/set/a.bin": PAYLOAD}
        self.breaks, self.ranges, self.status, self.asked = 0, True, None, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}/set"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        body = self.files.get(handler.path)
        status = self.status or (200 if body is not None else 404)
        if status != 200:
            handler.send_error(status)
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and self.ranges else 0
        if start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if wanted and self.ranges else 200)
        if wanted and self.ranges:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start:]
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        if self.breaks:
            self.breaks -= 1
            rest = rest[: len(rest) // 2]
        handler.wfile.write(rest)


@pytest.fixture
def server():
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def get(server, folder, **options):
    return fetch([server.base], "a.bin", folder, SHA256, wait=0.01, **options)


def refused(server, folder, match):
    with pytest.raises(DataError, match=match) as caught:
        get(server, folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "a.bin").exists()


def test_a_plain_download(server, tmp_path):
    path = get(server, tmp_path / "new")
    assert path.read_bytes() == PAYLOAD
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.bin"]
    assert get(server, tmp_path / "new") == path
    assert len(server.asked) == 1


def test_breaking_off_twice_is_resumed(server, tmp_path):
    server.breaks = 2
    assert get(server, tmp_path).read_bytes() == PAYLOAD
    assert server.asked[0] is None
    first, second = (int(asked[len("bytes=") : -1]) for asked in server.asked[1:])
    assert 0 < first < second < len(PAYLOAD)


def test_a_server_that_cannot_resume_starts_again(server, tmp_path):
    server.breaks, server.ranges = 1, False
    assert get(server, tmp_path).read_bytes() == PAYLOAD


def test_a_later_call_goes_on(server, tmp_path):
    server.breaks = 99
    refused(server, tmp_path, "the connection broke off")
    server.breaks, server.asked = 0, []
    assert get(server, tmp_path).read_bytes() == PAYLOAD
    assert len(server.asked) == 1
    assert server.asked[0].startswith("bytes=")


def test_a_complete_part_is_taken_and_a_foreign_one_replaced(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(PAYLOAD)
    assert get(server, tmp_path).read_bytes() == PAYLOAD
    for foreign in (b"x" * 1000, b"x" * 400_000):
        (tmp_path / "a.bin").unlink()
        (tmp_path / "a.bin.part").write_bytes(foreign)
        assert get(server, tmp_path).read_bytes() == PAYLOAD


def test_wrong_bytes(server, tmp_path):
    server.files["/set/a.bin"] = PAYLOAD[:-1] + b"!"
    refused(server, tmp_path, "wrong checksum")
    assert list(tmp_path.iterdir()) == []


def test_not_found_is_not_retried(server, tmp_path):
    server.files = {}
    refused(server, tmp_path, "answered 404")
    assert len(server.asked) == 1


def test_a_failing_server_is_retried(server, tmp_path):
    server.status = 503
    refused(server, tmp_path, "answered 503")
    assert len(server.asked) == 4


def test_nobody_there_and_the_next_base_is_tried(server, tmp_path):
    server.http.shutdown()
    dead = "http://127.0.0.1:9/set"
    with pytest.raises(DataError, match="no connection"):
        fetch([dead], "a.bin", tmp_path, SHA256, tries=1)
    other = Server()
    assert fetch([dead, other.base], "a.bin", tmp_path, SHA256, tries=1).read_bytes() == PAYLOAD
    other.http.shutdown()
    other.http.server_close()


def test_unwritable_and_odd_places(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        get(server, tmp_path / "file" / "below")
    with pytest.raises(ConfigError, match="no http"):
        fetch(["ftp://x"], "a.bin", tmp_path, SHA256)


def test_load_downloads_a_known_name_from_a_mirror(server, tmp_path, monkeypatch):
    pixels = making.write_mnist(tmp_path / "made")
    files = []
    for path in sorted((tmp_path / "made").iterdir()):
        server.files[f"/set/{path.name}"] = path.read_bytes()
        files.append(File(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    monkeypatch.setitem(KNOWN, "tiny", Known("for this test", tuple(files), ("http://127.0.0.1:9",)))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("DLKIT_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="allow the download"):
        load("tiny", download=False)
    data = load("tiny", mirror=server.base)
    np.testing.assert_array_equal(data.train.read(np.arange(30))[..., 0], pixels)
    assert len(load("tiny", download=False).test) == 10
