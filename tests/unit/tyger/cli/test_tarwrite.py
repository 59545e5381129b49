"""A directory as a stream: whole, in order, the same each time; what cannot be read fails it."""

import io
import os
import socket
import tarfile

import pytest

from tyger import errors
from tyger.cli import tarwrite


def packed(path, remarks=None):
    """The archive, and why it is not whole."""
    packer = tarwrite.Packer(str(path), lambda *said: (remarks if remarks is not None else []).append(said))
    packer.start()
    with os.fdopen(packer.reader, "rb", closefd=False) as stream:
        data = stream.read()
    packer.close()
    packer.close()
    return data, packer.failure()


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "b" / "deep").mkdir(parents=True)
    (root / "b" / "x").write_bytes(b"x" * 1000)
    (root / "b-").write_bytes(b"")
    (root / "a\n\udcff").write_bytes(b"odd")
    (root / "long").mkdir()
    (root / "long" / ("n" * 200)).write_text("deep")
    os.symlink("x", root / "b" / "link")
    os.link(root / "b" / "x", root / "same")
    os.utime(root / "b" / "x", ns=(0, 1_700_000_000_123_456_789))
    os.utime(root / "b-", ns=(0, -1_500_000_000))
    os.chmod(root / "b-", 0o4751)
    return root


def test_all_of_it_in_order(tree):
    data, failure = packed(tree)
    assert failure is None
    assert len(data) % 10240 == 0
    found = members(data)
    assert list(found) == [
        "a\n\udcff", "b", "b/deep", "b/link", "b/x", "b-", "long", f"long/{'n' * 200}", "same",
    ]  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.extractfile("b/x").read() == b"x" * 1000
        assert archive.extractfile("a\n\udcff").read() == b"odd"
    assert found["b/link"].linkname == "x"
    assert (found["same"].type, found["same"].linkname) == (tarfile.LNKTYPE, "b/x")
    assert found["b/x"].pax_headers["mtime"] == "1700000000.123456789"
    assert found["b-"].pax_headers["mtime"] == "-1.5"
    assert found["b-"].mode == 0o751
    assert {(member.uid, member.gid, member.uname) for member in found.values()} == {(0, 0, "")}


def test_the_same_bytes_each_time(tree):
    assert packed(tree) == packed(tree)


def test_an_empty_directory(tmp_path):
    assert packed(tmp_path) == (bytes(10240), None)


def test_what_is_no_data_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(tmp_path)
        listening.bind("sock")
    remarks = []
    data, failure = packed(tmp_path, remarks)
    assert (list(members(data)), failure) == (["file"], None)
    assert [name for name, _ in remarks] == ["pipe", "sock"]
    assert remarks[0][1] == "left out: it is neither a file, a directory nor a link"


def test_links_that_will_be_refused_are_told(tmp_path):
    os.symlink("/etc", tmp_path / "out")
    (tmp_path / ".tyger-part").write_text("")
    remarks = []
    packed(tmp_path, remarks)
    assert [name for name, _ in remarks] == [".tyger-part", "out"]


def test_a_file_that_changes_fails_it(tmp_path):
    (tmp_path / "big").write_bytes(bytes(8_000_000))
    packer = tarwrite.Packer(str(tmp_path), lambda *_: None)
    packer.start()
    with os.fdopen(packer.reader, "rb", closefd=False) as stream:
        stream.read(512)  # its header: all of it does not fit into the pipe
        os.truncate(tmp_path / "big", 7_000_000)
        stream.read()
    assert packer.failure() == f"{tmp_path}/big changed while it was read"
    packer.close()


def test_a_reader_that_goes_away_ends_it(tmp_path):
    (tmp_path / "big").write_bytes(bytes(8_000_000))
    packer = tarwrite.Packer(str(tmp_path), lambda *_: None)
    packer.start()
    packer.close()
    packer._thread.join(60)
    assert not packer._thread.is_alive()


def test_a_directory_that_cannot_be_packed(tmp_path):
    (tmp_path / ".tyger-incomplete").write_text("")
    with pytest.raises(errors.Problem, match="is not complete: an earlier `tyger buffer read`") as caught:
        tarwrite.Packer(str(tmp_path), lambda *_: None)
    assert caught.value.exit_code == 65
    with pytest.raises(errors.Problem, match="cannot read the directory"):
        tarwrite.Packer(str(tmp_path / "none"), lambda *_: None)
