"""Archives into directories: exact, nothing outside, nothing half-written that looks whole."""

import io
import os
import stat
import tarfile
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tyger.cli.test_tarwrite import packed, tree
from tyger import errors
from tyger.cli import tarread

__all__ = ["tree"]


def unpack(data, path, *, whole=True):
    unpacker = tarread.Unpacker(str(path))
    unpacker.start()
    try:
        with os.fdopen(unpacker.writer, "wb", closefd=False) as stream:
            stream.write(data)
    except BrokenPipeError:
        whole = False
    unpacker.finish(whole=whole)
    return unpacker


def archive(*entries, form=tarfile.PAX_FORMAT):
    """An archive of (name, type or bytes, further fields)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as out:
        for name, what, *more in entries:
            info = tarfile.TarInfo(name)
            content = None
            if isinstance(what, bytes) and len(what) != 1:
                info.size, content = len(what), io.BytesIO(what)
            else:
                info.type = what
            for field, value in dict(*more).items():
                setattr(info, field, value)
            out.addfile(info, content)
    return made.getvalue()


def listing(path):
    found = {}
    for directory, names, files in os.walk(path):
        for name in [*names, *files]:
            whole = os.path.join(directory, name)
            state = os.lstat(whole)
            kind = stat.S_IFMT(state.st_mode)
            content = os.readlink(whole) if stat.S_ISLNK(kind) else None
            if stat.S_ISREG(kind):
                with open(whole, "rb") as file:
                    content = file.read()
            time = None if stat.S_ISLNK(kind) else state.st_mtime_ns
            found[os.path.relpath(whole, path)] = (kind, content, time)
    return found


def test_what_was_packed_is_unpacked(tree, tmp_path):
    data, _ = packed(tree)
    assert unpack(data, tmp_path / "out").complete
    assert listing(tmp_path / "out") == listing(tree)
    assert os.stat(tmp_path / "out/same").st_ino == os.stat(tmp_path / "out/b/x").st_ino
    assert stat.S_IMODE(os.stat(tmp_path / "out/b-").st_mode) == 0o751
    (tmp_path / "out/b/x").write_text("mine")
    (tmp_path / "out/mine").write_text("stays")
    again = unpack(data, tmp_path / "out")
    assert (again.complete, again.marked, again.files) == (True, False, 6)
    assert (tmp_path / "out/mine").read_text() == "stays"
    os.unlink(tmp_path / "out/mine")
    assert listing(tmp_path / "out") == listing(tree)


NAMES = st.text("ab.\n\u00e9\U0001f600", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
TREES = st.recursive(st.binary(max_size=2000), lambda inner: st.dictionaries(NAMES, inner, max_size=4))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES.filter(lambda made: isinstance(made, dict)))
def test_any_tree(tmp_path_factory, made):
    def make(path, content):
        if isinstance(content, bytes):
            path.write_bytes(content)
            return
        path.mkdir()
        for name, inner in content.items():
            make(path / name, inner)

    root = tmp_path_factory.mktemp("any")
    make(root / "in", made)
    data, failure = packed(root / "in")
    assert failure is None
    assert unpack(data, root / "out").complete
    assert listing(root / "out") == listing(root / "in")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (("/etc/evil", b"xx"), "its name is absolute"),
        (("a/../../evil", b"xx"), "its name leads out of the directory"),
        (("../evil", tarfile.DIRTYPE), "its name leads out of the directory"),
        (("dev", tarfile.CHRTYPE), "it is neither a file, a directory nor a link"),
        (("dev", tarfile.BLKTYPE), "it is neither a file, a directory nor a link"),
        (("pipe", tarfile.FIFOTYPE), "it is neither a file, a directory nor a link"),
        (("l", tarfile.SYMTYPE, {"linkname": "/etc/passwd"}), "it is a link to an absolute path"),
        (("l", tarfile.SYMTYPE, {"linkname": "../x"}), "it is a link that leads out of the directory"),
        (("l", tarfile.SYMTYPE, {"linkname": "good/../../x"}), "leads down and up again"),
        (("l", tarfile.LNKTYPE, {"linkname": "../x"}), "its name leads out of the directory"),
        (("l", tarfile.LNKTYPE, {"linkname": "/etc/passwd"}), "its name is absolute"),
        (("l", tarfile.LNKTYPE, {"linkname": "nothing"}), "No such file or directory"),
        (("l", tarfile.LNKTYPE, {"linkname": "."}), "it is a link to what is no file"),
        ((".tyger-incomplete", b"xx"), "its name is one that"),
        (("good/x", b"xx"), "Not a directory"),
        ((".", b"xx"), "it is the directory itself, and not one"),
    ],
)
def test_hostile_entries(tmp_path, entry, why):
    it = unpack(archive(("good", b"good"), entry), tmp_path / "out")
    assert not it.complete
    assert why in it.failure.message
    assert it.failure.message.startswith("cannot unpack ")
    assert os.listdir(tmp_path) == ["out"]
    assert sorted(os.listdir(tmp_path / "out")) == [".tyger-incomplete", "good"]
    assert it.marked


def test_no_link_is_followed(tmp_path):
    """Neither one of the archive nor one that stood there before."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (tmp_path / "out").mkdir()
    os.symlink(outside, tmp_path / "out/door")
    os.symlink(outside / "kept", tmp_path / "out/file")
    os.symlink(outside / "kept", tmp_path / "out/.tyger-part")
    assert "door/x" in unpack(archive(("door/x", b"xx")), tmp_path / "out").failure.message
    assert unpack(archive(("file", b"xx")), tmp_path / "out").complete
    assert (tmp_path / "out/file").read_bytes() == b"xx"
    assert not (tmp_path / "out/file").is_symlink()
    inner = archive(("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE, {"linkname": "d"}), ("l/x", b"xx"))
    assert "l/x" in unpack(inner, tmp_path / "other").failure.message
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("kept", "kept")]


def test_permissions_are_the_archives_as_far_as_the_mask_lets_them(tmp_path):
    data = archive(*((f"{mode:o}", b"xx", {"mode": mode}) for mode in (0o4777, 0o644, 0o000, 0o011)))
    before = os.umask(0o027)
    try:
        assert unpack(data, tmp_path / "out").complete
    finally:
        os.umask(before)
    modes = {
        name: stat.S_IMODE(os.stat(tmp_path / "out" / name).st_mode) for name in os.listdir(tmp_path / "out")
    }
    assert modes == {"4777": 0o750, "644": 0o640, "0": 0o600, "11": 0o600}


def test_a_hard_link_to_itself_leaves_nothing_behind(tmp_path):
    data = archive(("a", b"aa"), ("a", tarfile.LNKTYPE, {"linkname": "a"}))
    assert unpack(data, tmp_path / "out").complete
    assert os.listdir(tmp_path / "out") == ["a"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b" + bytes(510),
        b"no archive at all" * 100,
        archive(("a", b"aa"))[:-10240] + b"x" * 512,
        archive(("a", b"x" * 1000))[:1000],
        archive(("a", b"x" * 1000))[:1536],  # behind its last entry: all but the end
        archive(("a", b"aa")) + b"x",
        archive(("a", b"aa"))[:1024] + b"x" * 512 + bytes(1024),
    ],
    ids=["empty", "gzip", "text", "odd", "cut in a file", "without an end", "more behind", "damaged header"],
)
def test_what_is_no_whole_archive(tmp_path, data):
    it = unpack(data, tmp_path / "out")
    assert not it.complete
    assert it.failure.message.startswith("the buffer holds no tar archive that can be unpacked: ")
    assert it.failure.exit_code == 65
    assert it.marked == (tmp_path / "out").exists() == (it.files > 0)


def test_headers_that_want_all_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    assert "too large" in unpack(info.tobuf() + bytes(100_000), tmp_path / "a").failure.message
    headers = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"k{number}": "x"}) for number in range(3000)
    )
    assert not unpack(headers, tmp_path / "b").complete
    sparse = archive(("s", b"xx", {"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}}))
    assert "sparse file" in unpack(sparse, tmp_path / "c").failure.message


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_noise_in_an_archive_ends_it_or_not_but_never_in_a_defect(tmp_path_factory, data):
    whole = bytearray(archive(("a", b"aa"), ("d/b", b"x" * 700), ("l", tarfile.SYMTYPE, {"linkname": "a"})))
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8)):
        whole[place] = byte
    root = tmp_path_factory.mktemp("noise")
    it = unpack(bytes(whole), root / "out")
    assert it.complete or it.failure.kind in (errors.INVALID_INPUT, errors.IO_ERROR)
    assert set(os.listdir(root)) <= {"out"}


def test_many_files_take_no_memory(tmp_path):
    data = archive(*((f"f{number % 10}", b"xx") for number in range(800)))
    tracemalloc.start()
    assert unpack(data, tmp_path / "out").complete
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 600_000  # 440 kB; 780 kB where it remembers each entry


def test_a_stream_that_broke_off_is_not_complete(tmp_path):
    it = unpack(archive(("a", b"aa")), tmp_path / "out", whole=False)
    assert not it.complete
    assert os.listdir(tmp_path / "out") == [".tyger-incomplete", "a"] or it.marked
    assert unpack(archive(("a", b"aa")), tmp_path / "out").complete
    assert os.listdir(tmp_path / "out") == ["a"]


def test_an_old_directory_is_marked_only_when_something_was_done_to_it(tmp_path):
    (tmp_path / "mine").write_text("stays")
    assert not unpack(archive(("../x", b"xx")), tmp_path).marked
    assert os.listdir(tmp_path) == ["mine"]
    assert unpack(archive(("d", tarfile.DIRTYPE), ("../x", b"xx")), tmp_path).marked
    assert sorted(os.listdir(tmp_path)) == [".tyger-incomplete", "d", "mine"]


def test_places_that_cannot_be_unpacked_into(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in ("file", "none/out"):
        with pytest.raises(errors.Problem, match="cannot unpack into"):
            tarread.Unpacker(str(tmp_path / path))
