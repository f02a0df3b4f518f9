"""``download=True``, against a server on this machine that misbehaves on request."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import importlib
import io
import os
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from spikecore import datasets
from spikecore.datasets import DataFileError, Events, download, gesture, heidelberg, idx, places, unpack
from tests.datasets.event_files import nmnist_bytes

nmnist = importlib.import_module("spikecore.datasets.nmnist")  # the package has a function of that name

CONTENT = np.random.default_rng(0).bytes(3 * download.CHUNK + 17)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; cuts the connection after ``cuts.pop(0)`` bytes, or closes it unasked at ``mute``."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.ranges, self.asked, self.mute = {}, [], True, [], 0
        self.moved, self.reason, self.sized = (
            "",
            None,
            True,
        )  # where it sends on to; how it says 404; its Content-Length
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        server.asked.append((name, self.headers.get("Range")))
        if server.mute:
            server.mute -= 1
            self.close_connection = True
            return
        if server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved)
            self.end_headers()
            return
        if name not in server.files:
            self.send_error(404, server.reason)
            return
        content, start = server.files[name], 0
        if server.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"][len("bytes=") : -1])
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if server.sized:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = server.cuts.pop(0) if server.cuts else len(content)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[start : start + stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def remote(server, content=CONTENT, name="file.bin", served=True, **options):
    if served:
        server.files[name] = content
    return places.Remote(name, server.url + name, hashlib.md5(content).hexdigest(), **options)


# ---- one file ------------------------------------------------------------------------------------------------------


def test_a_file_is_fetched_once(server, tmp_path):
    wanted = remote(server)
    for _ in range(2):
        path = wanted.fetch(tmp_path / "new" / "folder", "a page")
        assert path.read_bytes() == CONTENT
    assert server.asked == [("file.bin", None)]
    assert [path.name for path in path.parent.iterdir()] == ["file.bin"]


def test_a_cut_connection_is_continued(server, tmp_path):
    wanted, server.cuts = remote(server), [1_000_000, 500_000]
    assert wanted.fetch(tmp_path, "a page").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_the_next_call_continues_where_all_attempts_ended(server, tmp_path):
    wanted, server.cuts = remote(server), [100_000] * download.ATTEMPTS
    with pytest.raises(DataFileError, match=r"was cut after 400,000 of 3,145,745 bytes; call again to continue there"):
        wanted.fetch(tmp_path, "a page")
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.part"]
    assert wanted.fetch(tmp_path, "a page").read_bytes() == CONTENT
    assert server.asked[-1] == ("file.bin", "bytes=400000-")


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    wanted, server.cuts, server.ranges = remote(server), [1_000_000], False
    assert wanted.fetch(tmp_path, "a page").read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_no_byte_more(server, tmp_path):
    wanted = remote(server)
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert wanted.fetch(tmp_path, "a page").read_bytes() == CONTENT


def test_a_server_that_does_not_answer_is_asked_again(server, tmp_path):
    wanted, server.mute = remote(server), 2
    assert wanted.fetch(tmp_path, "a page").read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_another_file_than_expected_is_not_kept(server, tmp_path):
    wanted = remote(server)
    server.files["file.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(DataFileError, match=rf"MD5 checksum is \w+, expected {wanted.md5}.*it was deleted"):
        wanted.fetch(tmp_path, "a page")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_user_is_checked_and_not_deleted(server, tmp_path):
    wanted = remote(server)
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(DataFileError, match=r"file\.bin: its MD5 checksum is .*delete it, and it is fetched again"):
        wanted.fetch(tmp_path, "a page")
    assert (tmp_path / "file.bin").read_bytes() == b"mine"
    assert server.asked == []


def test_what_is_not_there_is_said_with_the_page(server, tmp_path):
    with pytest.raises(
        DataFileError, match=r"file\.bin: the server answers 404 Not Found: .*get file\.bin from a page"
    ):
        remote(server, served=False).fetch(tmp_path, "a page")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataFileError, match=r"cannot be reached: .*get file\.bin from a page and put it into"):
        remote(server).fetch(tmp_path, "a page")


@pytest.mark.parametrize("place", ["http://[::1", "http://host:port/", "file:///etc/passwd", "\x1b[31mhttp"])
def test_a_server_that_sends_on_to_no_address(server, tmp_path, place):
    server.moved = place
    with pytest.raises(DataFileError, match=r"get file\.bin from a page and put it into"):
        remote(server).fetch(tmp_path, "a page")


def test_what_a_server_says_does_not_move_the_terminal(server, tmp_path):
    server.reason = "\x1b[2JAll is well"
    with pytest.raises(DataFileError, match=r"the server answers 404 \?\[2JAll is well"):
        remote(server, served=False).fetch(tmp_path, "a page")


def test_a_server_that_sends_without_end(server, tmp_path, monkeypatch):
    wanted, server.sized = remote(server), False
    assert wanted.fetch(tmp_path / "all", "a page").read_bytes() == CONTENT
    monkeypatch.setattr(download, "LARGEST", download.CHUNK)
    with pytest.raises(DataFileError, match=r"it sends more than 1,048,576 bytes.*get file\.bin from a page"):
        wanted.fetch(tmp_path, "a page")


def test_no_permission_and_no_space_are_said(server, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    with pytest.raises(DataFileError, match=r"file\.bin\.part: cannot be written: (Not a directory|File exists)"):
        remote(server).fetch(tmp_path / "a file", "a page")
    if not os.path.exists("/dev/full"):
        pytest.skip("no device that is always full")
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataFileError, match=r"file\.bin\.part: cannot be written: No space left on device"):
        remote(server).fetch(tmp_path, "a page")


# ---- archives ------------------------------------------------------------------------------------------------------


def zipped(files):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()


def tarred(files, link=""):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    return memory.getvalue()


def nameless():
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("a", b"x")
        archive.infolist()[0].filename = ""  # in the directory at the end
    return memory.getvalue()


def overwritten(archive):
    """With other bytes in the compressed content of its first file."""
    return archive[:31] + bytes(255 - byte for byte in archive[31:60]) + archive[60:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"../out.txt": b"x"}), r"leads out of the folder"),
        (zipped({"/out.txt": b"x"}), r"leads out of the folder"),
        (zipped({"..\\out.txt": b"x"}), r"leads out of the folder"),
        (nameless(), r"the name '' in it leads out of the folder"),
        (tarred({"a/../../out.txt": b"x"}), r"leads out of the folder"),
        (tarred({"a": b"x"}, link="passwd"), r"passwd is a link or a device"),
        (tarred({"a": b"x" * 5000})[:-30], r"damaged|unpacked"),
        (zipped({"a": b"x" * 5000})[:-30], r"damaged|unpacked"),
        (overwritten(zipped({"a": bytes(range(256)) * 50})), r"damaged"),
    ],
    ids="above absolute backslash nameless above-a-folder link short-tar short-zip overwritten".split(),
)
def test_an_archive_that_is_not_safe_leaves_nothing(tmp_path, content, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(DataFileError, match=message):
        unpack.unpack(tmp_path / "archive", tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "folder"]


# ---- the readers ---------------------------------------------------------------------------------------------------


def idx_file(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize(("reader", "name"), [(datasets.mnist, "MNIST"), (datasets.fashion_mnist, "FASHION")])
def test_mnist_and_fashion_mnist(server, tmp_path, monkeypatch, reader, name):
    arrays = {"images-idx3": np.zeros((3, 28, 28)), "labels-idx1": np.arange(3)}
    files = {f"{part}-{kind}-ubyte": idx_file(array) for part in ("train", "t10k") for kind, array in arrays.items()}
    server.files = {f"{file}.gz": content for file, content in files.items()}
    assert list(getattr(idx, f"{name}_MD5")) == list(files)
    monkeypatch.setattr(idx, f"{name}_URL", server.url)
    monkeypatch.setattr(idx, f"{name}_MD5", {file: hashlib.md5(content).hexdigest() for file, content in files.items()})
    with pytest.raises(DataFileError, match="Pass download=True to fetch them"):
        reader(tmp_path)
    assert server.asked == []
    tables = pytest.importorskip("spikecore.cli.data_tables")
    table = tables.TABLES[reader.__name__](path=str(tmp_path), download=True)  # [data] in a run file
    train, test = table.load(0)
    assert (len(train), len(test), train.targets.tolist()) == (3, 3, [0, 1, 2])
    assert len(server.asked) == 4
    reader(tmp_path)
    reader(tmp_path, download=True)
    assert len(server.asked) == 4


def elsewhere(home, server, archives, monkeypatch, module, name="HOME"):
    """Let a data set come from ``server``: archives by what they provide."""
    remotes = {}
    for file, known in home.remotes.items():
        content = archives[file]
        server.files[known.name] = content
        url = server.url + known.name if known.url else ""
        remotes[file] = replace(known, url=url, md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr(module, name, replace(home, remotes=remotes))


def test_nmnist(server, tmp_path, monkeypatch):
    recording = nmnist_bytes(Events([0, 5], [1, 2], [3, 4], [0, 1], (34, 34)))
    archives = {part: zipped({f"{part}/{d}/0000{d}.bin": recording for d in range(10)}) for part in ("Train", "Test")}
    elsewhere(nmnist.HOME, server, archives, monkeypatch, nmnist)
    with pytest.raises(DataFileError, match="Pass download=True to fetch the data; or get the data from"):
        datasets.nmnist(tmp_path)
    train, test = datasets.nmnist(tmp_path, download=True)
    assert (len(train), len(test), len(train[0][0])) == (10, 10, 2)
    assert sorted(path.name for path in (tmp_path / "N-MNIST").iterdir()) == ["Test", "Train"]
    assert len(datasets.nmnist(tmp_path)[0]) == 10
    assert len(server.asked) == 2


def test_an_archive_without_what_it_should_hold(server, tmp_path, monkeypatch):
    archives = {"Train": zipped({"other/0/00001.bin": b"12345"}), "Test": zipped({})}
    elsewhere(nmnist.HOME, server, archives, monkeypatch, nmnist)
    with pytest.raises(DataFileError, match=r"Train\.zip: holds no Train; unpack it by hand"):
        datasets.nmnist(tmp_path, download=True)


@pytest.mark.parametrize("name", ["shd", "ssc"])
def test_shd_and_ssc(server, tmp_path, monkeypatch, name):
    pytest.importorskip("h5py")
    from tests.datasets.event_files import write_spikes

    home, archives = getattr(heidelberg, name.upper()), {}
    for number, file in enumerate(home.remotes):
        write_spikes(tmp_path / "made.h5", samples=4 + number, seed=number)
        archives[file] = zipped({file: (tmp_path / "made.h5").read_bytes()})
    elsewhere(home, server, archives, monkeypatch, heidelberg, name.upper())
    parts = getattr(datasets, name)(tmp_path, download=True)
    assert [len(part) for part in parts] == [4, 5, 6][: len(parts)]
    assert all(path.suffix == ".h5" for path in (tmp_path / name.upper()).iterdir())
    assert len(server.asked) == len(parts)


def test_dvs_gesture_is_unpacked_from_what_the_browser_fetched(server, tmp_path, monkeypatch):
    from tests.datasets.event_files import write_gesture

    write_gesture(tmp_path / "made")
    files = {f"DvsGesture/{path.name}": path.read_bytes() for path in (tmp_path / "made").iterdir()}
    archive = tarred(files)
    elsewhere(gesture.HOME, server, dict.fromkeys(gesture.HOME.remotes, archive), monkeypatch, gesture)
    with pytest.raises(
        DataFileError, match=r"Put DvsGesture\.tar\.gz into .* and pass download=True, which checks and"
    ):
        datasets.dvs_gesture(tmp_path)
    with pytest.raises(DataFileError, match=r"only be fetched with a browser: get it from https://research\.ibm\.com"):
        datasets.dvs_gesture(tmp_path, download=True)
    (tmp_path / "DvsGesture.tar.gz").write_bytes(archive)
    train, test = datasets.dvs_gesture(tmp_path, download=True)
    assert len(train)
    assert len(test)
    assert (tmp_path / "DvsGesture.tar.gz").exists(), "a file of the user was deleted"
    assert server.asked == []


def test_addresses_and_checksums_have_the_form_that_they_should():
    homes = (nmnist.HOME, gesture.HOME, heidelberg.SHD, heidelberg.SSC)
    remotes = [remote for home in homes for remote in home.remotes.values()]
    remotes += [*idx._remotes(idx.MNIST_URL, idx.MNIST_MD5).values()]
    remotes += [*idx._remotes(idx.FASHION_URL, idx.FASHION_MD5).values()]
    assert len({remote.md5 for remote in remotes}) == len(remotes) - 1  # one archive of DVS-Gesture holds both lists
    for one in remotes:
        assert len(one.md5) == 32
        assert set(one.md5) <= set("0123456789abcdef")
        assert one.name.endswith((".gz", *places.ARCHIVES))
