"""`buffer write ID DIR` and `buffer read ID -o DIR/`: directories, files and `-` as inputs and outputs."""

import os
import signal
import subprocess

import pytest

from tests.support import cli


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "exam"
    (root / "raw").mkdir(parents=True)
    (root / "raw" / "scan").write_bytes(os.urandom(300_000))
    (root / "notes").write_text("two\nlines\n")
    return root


def same(one, other):
    return subprocess.run(["diff", "-r", str(one), str(other)], check=False).returncode == 0


@pytest.mark.parametrize("named", [["{}"], ["--input", "{}"], ["-i", "{}/"]])
def test_there_and_back(daemon, tree, tmp_path, named):
    daemon.buffer("b")
    done = cli.run(daemon.path, "buffer", "write", "b", *(word.format(tree) for word in named))
    assert done.code == 0, done.err
    assert daemon.buffers["b"].state == "complete"
    begun = daemon.asked("POST", "/transfers")[0].body
    assert (begun["flushInterval"], begun["priority"]) == (0, "bulk")
    done = cli.run(daemon.path, "buffer", "read", "b", "-o", f"{tmp_path}/out/")
    assert (done.code, done.out) == (0, b""), done.err
    assert "Transfer complete" in done.err
    assert same(tree, tmp_path / "out")
    (tmp_path / "there").mkdir()
    assert cli.run(daemon.path, "buffer", "read", "b", "-o", str(tmp_path / "there")).code == 0
    assert same(tree, tmp_path / "there")


def test_tar_unpacks_it_and_what_tar_packs_is_unpacked(daemon, tree, tmp_path):
    daemon.buffer("b")
    cli.run(daemon.path, "buffer", "write", "b", str(tree))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", "-", "-C", tmp_path / "out"], input=daemon.buffers["b"].data, check=True)
    assert same(tree, tmp_path / "out")
    for form in ("gnu", "ustar", "pax", "v7"):
        packed = subprocess.run(
            ["tar", f"--format={form}", "-cf", "-", "-C", tree, "."], capture_output=True, check=True
        ).stdout
        daemon.buffer(form, packed)
        assert cli.run(daemon.path, "buffer", "read", form, "-o", f"{tmp_path}/{form}/").code == 0
        assert same(tree, tmp_path / form)


def test_a_directory_that_cannot_be_read_fails_its_buffer(daemon, tree):
    os.symlink("loop", tree / "loop")
    os.mkfifo(tree / "pipe")
    daemon.buffer("b")
    done = cli.run(daemon.path, "buffer", "write", "b", str(tree))
    assert done.code == 0
    assert 'WRN "left out' not in done.err
    assert "WRN left out: it is neither a file, a directory nor a link name=pipe" in done.err
    (tree / ".tyger-incomplete").write_text("")
    daemon.buffer("c")
    done = cli.run(daemon.path, "buffer", "write", "c", str(tree))
    assert done.code == 65
    assert "is not complete" in done.err
    assert daemon.buffers["c"].state == "new"


def test_a_file_that_shrinks_fails_its_buffer(daemon, tree):
    (tree / "big").write_bytes(bytes(30_000_000))
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b", str(tree)) as process:
        buffer.wait(lambda: buffer.data)
        os.truncate(tree / "big", 10)
        said = process.stderr.read().decode()
        code = process.wait(60)
    if buffer.state == "complete":  # it was read before it was cut
        assert code == 0
    else:
        assert code == 74
        assert "big changed while it was read" in said
        assert buffer.reason.endswith("big changed while it was read")


def test_a_reading_that_fails_leaves_a_directory_that_says_so(daemon, tree, tmp_path):
    daemon.buffer("b")
    cli.run(daemon.path, "buffer", "write", "b", str(tree))
    daemon.buffer("half", bytes(daemon.buffers["b"].data[:200_000]), "failed")
    done = cli.run(daemon.path, "buffer", "read", "half", "-o", f"{tmp_path}/out/")
    assert done.code == 74
    assert "WRN The directory is not complete directory=" in done.err
    assert "files=1 markedBy=.tyger-incomplete" in done.err
    assert sorted(os.listdir(tmp_path / "out")) == [".tyger-incomplete", "notes", "raw"]
    assert os.listdir(tmp_path / "out" / "raw") == []
    assert cli.run(daemon.path, "buffer", "write", "b", str(tmp_path / "out")).code == 65
    assert cli.run(daemon.path, "buffer", "read", "b", "-o", f"{tmp_path}/out/").code == 0
    assert same(tree, tmp_path / "out")


def test_a_signal_leaves_a_directory_that_says_so(daemon, tree, tmp_path):
    daemon.buffer("b")
    cli.run(daemon.path, "buffer", "write", "b", str(tree))
    buffer = daemon.buffer("slow", bytes(daemon.buffers["b"].data[:200_000]), state=None)
    with cli.start(daemon.path, "buffer", "read", "slow", "-o", f"{tmp_path}/out/") as process:
        while b"Transfer starting" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == cli.ended_by(signal.SIGTERM)
        assert b"The directory is not complete" in process.stderr.read() or not (tmp_path / "out").exists()
    buffer.leave()


def test_killed_in_the_middle(daemon, tree, tmp_path):
    (tree / "raw" / "scan").write_bytes(os.urandom(1_000_000))
    daemon.buffer("b")
    cli.run(daemon.path, "buffer", "write", "b", str(tree))
    buffer = daemon.buffer("slow", bytes(daemon.buffers["b"].data[:700_000]), state=None)
    with cli.start(daemon.path, "buffer", "read", "slow", "-o", f"{tmp_path}/out/") as process:
        part = tmp_path / "out" / "raw" / ".tyger-part"
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None
        process.kill()
        process.wait(60)
    buffer.leave()
    assert (tmp_path / "out" / ".tyger-incomplete").exists()
    assert (tmp_path / "out" / "notes").read_text() == "two\nlines\n"
    assert os.listdir(tmp_path / "out" / "raw") == [".tyger-part"]
    assert cli.run(daemon.path, "buffer", "read", "b", "-o", f"{tmp_path}/out/").code == 0
    assert same(tree, tmp_path / "out")


def test_nothing_is_left_where_nothing_came(daemon, tmp_path):
    assert cli.run(daemon.path, "buffer", "read", "none", "-o", f"{tmp_path}/out/").code == 66
    daemon.buffer("text", b"this is no archive")
    done = cli.run(daemon.path, "buffer", "read", "text", "-o", f"{tmp_path}/out/")
    assert done.code == 65
    assert 'Failed to read buffer error="the buffer holds no tar archive that can be unpacked' in done.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("flags", [["--head", "5"], ["--range", "0-"], ["--no-follow"]])
def test_a_part_cannot_be_unpacked(daemon, tmp_path, flags):
    daemon.buffer("b", b"")
    done = cli.run(daemon.path, "buffer", "read", "b", "-o", str(tmp_path), *flags)
    assert done.code == 64
    assert os.listdir(tmp_path) == []


def test_an_output_file_that_is_not_whole_is_told(daemon, tmp_path):
    daemon.buffer("half", b"abc", "failed")
    done = cli.run(daemon.path, "buffer", "read", "half", "-o", str(tmp_path / "f"))
    assert done.code == 74
    assert "WRN The output file is not complete bytes=3 file=" in done.err


def test_files_and_dashes(daemon, tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    for name, words in (("a", [tmp_path / "f"]), ("b", ["-"]), ("c", ["-i", "-"]), ("d", [])):
        daemon.buffer(name)
        assert cli.run(daemon.path, "buffer", "write", name, *map(str, words), data=b"abc").code == 0
        assert daemon.buffers[name].data == b"abc"
    assert cli.run(daemon.path, "buffer", "read", "a", "-o", "-").out == b"abc"
    done = cli.run(daemon.path, "buffer", "write", "a", "x", "-i", "y")
    assert done.code == 64
    assert "INPUT and --input exclude each other" in done.err
    assert "accepts 1 arg(s), received 3" in cli.run(daemon.path, "buffer", "write", "a", "b", "c").err
    assert cli.run(daemon.path, "buffer", "write", "a", "x", "--", "true").code == 64
