"""What is copied of a container's output, when connections end where they like. See also test_container."""

from __future__ import annotations

import os
import select
import socket

import pytest

from tests.support import dockerlog, enginegate, fakedocker
from tygerd.supervisor import dockerapi, log, output

TEXT = b"".join(b"line %d\n" % number for number in range(2000))


@pytest.fixture(params=["json-file", "local"])
def driver(request) -> str:
    return request.param


@pytest.fixture
def docker(driver):
    with fakedocker.docker() as engine:
        body = {"HostConfig": {"LogConfig": {"Type": driver}}}
        made = engine.containers["x"] = fakedocker.Container("x", body)
        made.silent = True
        yield engine


@pytest.fixture
def ending() -> list[bool]:
    """The answers to whether the container may be about to end; the last is taken on, the rest used up."""
    return [False]


@pytest.fixture
def copying(docker, driver, ending):
    stamps, api = log.Stamps(), dockerapi.Api(docker.socket)
    it = output.Output(
        api,
        lambda fd, stream: log.Source(fd, stream, stamps),
        local=driver == "local",
        ending=lambda: ending.pop(0) if ending[1:] else ending[0],
    )
    yield it
    it.close()
    for source in it.sources:
        source.close()


def attached(data: bytes) -> dockerapi.Answer:
    """A connection that has these bytes, and then ends."""
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.close()
    return dockerapi.Answer(ours, None, None)


def rest(it: output.Output) -> bytes:
    """All that comes, to the end, of both streams."""
    found = b""
    for source in it.sources:
        os.set_blocking(source.fileno(), True)
        while data := os.read(source.fileno(), 65536):
            found += data
    return found


def until_paused(it: output.Output) -> None:
    assert select.select([it.paused], [], [], 30)[0]
    os.eventfd_read(it.paused)


@pytest.mark.parametrize("cut", [0, 3, 8, 9, 500, len(TEXT) + 8])
def test_what_a_connection_had_not_is_taken_from_the_log(docker, copying, cut):
    printed = docker.containers["x"].log = [
        dockerlog.frame(TEXT[:300]),
        dockerlog.frame(b"err", 2),
        dockerlog.frame(TEXT[300:]),
    ]
    copying.begin("x", attached(b"".join(printed)[:cut]))
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == TEXT + b"err"


@pytest.mark.parametrize("driver", ["json-file"])
@pytest.mark.parametrize("first", [1, 300])
def test_a_connection_that_came_late_does_not_count(docker, copying, first):
    """Podman's conmon may have read from the container before it takes a connection."""
    docker.containers["x"].log = [
        dockerlog.frame(TEXT[:300]),
        dockerlog.frame(b"error\n", 2),
        dockerlog.frame(TEXT[300:]),
    ]
    copying.begin("x", attached(dockerlog.frame(b"error\n", 2) + dockerlog.frame(TEXT[first:])))
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == TEXT + b"error\n"


LONG = b"first\n" + b"x" * 40000 + b"\n" + b"y" * dockerlog.PART + b"\n\nend"


@pytest.mark.parametrize("cut", [0, 100, 40006, 40007, 40008, len(LONG) - 4, len(LONG)])
def test_long_lines_stay_lines_where_a_connection_is_cut(docker, copying, cut):
    docker.containers["x"].log = [dockerlog.frame(LONG)]
    copying.begin("x", attached(dockerlog.frame(LONG)[: 8 + cut]))
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == LONG


def test_a_long_line_without_a_newline_stays_so_where_all_of_it_came(docker, copying):
    text = LONG[:40006]
    docker.containers["x"].log = [dockerlog.frame(text)]
    copying.begin("x", attached(dockerlog.frame(text)))
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == text


def test_without_a_connection_all_of_it_is(docker, copying):
    docker.containers["x"].log = [dockerlog.frame(TEXT)]
    docker.containers["x"].state["Running"] = True
    copying.begin("x", None)
    until_paused(copying)
    copying.resume()
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == TEXT


def test_what_is_followed_counts_while_the_container_runs(docker, copying):
    """Behind its end, Podman leaves lines out of a log that is followed, and the rest looks like a log."""
    it = docker.containers["x"]
    it.silent, it.state["Running"] = False, True
    it.log = [dockerlog.frame(TEXT[:10])]
    copying.begin("x", None)
    until_paused(copying)
    copying.resume()
    out = copying.sources[0].fileno()
    assert select.select([out], [], [], 30)[0]
    with it.changed:
        it.state["Running"] = False
        it.silent = True
        it.log.append(dockerlog.frame(b"not so fast\n"))
        it.changed.notify_all()
    until_paused(copying)
    it.log[1:] = [dockerlog.frame(TEXT[10:])]
    copying.finish(damaged=False)
    assert rest(copying) == TEXT


def test_much_that_came_whole_is_not_compared(docker, copying, driver, monkeypatch):
    monkeypatch.setattr(output, "SMALL", 100)
    copying.begin("x", attached(dockerlog.frame(TEXT)))
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == TEXT
    assert docker.requests == ["GET /logs"] * (driver != "local")  # whether it begins with the first byte


def test_an_engine_that_has_lost_the_log_has_nothing_more(docker, copying):
    copying.begin("x", attached(dockerlog.frame(TEXT)))
    until_paused(copying)
    del docker.containers["x"]
    copying.finish(damaged=True)
    assert rest(copying) == TEXT


def test_an_engine_that_comes_back_is_waited_for(docker, copying, driver):
    docker.containers["x"].log = [dockerlog.frame(TEXT)]
    copying.begin("x", attached(dockerlog.frame(TEXT[:10])))
    until_paused(copying)
    docker.lose("GET /logs")
    copying.finish(damaged=True)
    assert rest(copying) == TEXT
    assert docker.requests == ["GET /logs"] * (2 if driver == "local" else 3)


def test_what_never_began_ends(copying):
    copying.finish(damaged=False)
    assert rest(copying) == b""


def test_a_container_is_let_go_where_nobody_reads(docker, copying):
    """And nothing is lost or twice there when somebody does."""
    docker.containers["x"].log = [dockerlog.frame(TEXT * 20)]
    copying.begin("x", attached(dockerlog.frame(TEXT * 20)[: 150 * 1024]))
    while not copying.blocked:
        select.select([copying.paused], [], [], 0.01)
    copying.detach()
    until_paused(copying)
    copying.finish(damaged=False)
    assert rest(copying) == TEXT * 20


def test_a_container_that_may_end_is_let_go_though_nobody_says_so(docker, copying, ending, monkeypatch):
    """Who would say it waits for an engine, which waits for the container's end."""
    monkeypatch.setattr(output, "UNREAD", 0.02)
    ending[:] = [False, False, True]
    docker.containers["x"].log = [dockerlog.frame(TEXT * 20)]
    copying.begin("x", attached(dockerlog.frame(TEXT * 20)[: 150 * 1024]))
    until_paused(copying)
    assert ending == [True]
    copying.finish(damaged=False)
    assert rest(copying) == TEXT * 20


@pytest.mark.parametrize("driver", ["json-file"])
def test_a_connection_is_left_where_the_engine_hangs(docker, copying, monkeypatch):
    """It may wait for the container's end, which waits for us."""
    monkeypatch.setattr(output, "BEGINNING", 0.02)
    docker.containers["x"].log = [dockerlog.frame(TEXT)]
    with enginegate.gate(docker.socket) as gate, gate.held("GET", "/containers/x/logs") as hold:
        copying._api = dockerapi.Api(gate.path)
        copying.begin("x", attached(dockerlog.frame(TEXT)))
        hold.arrived()
        until_paused(copying)
        hold.release()
        copying.finish(damaged=False)
        assert rest(copying) == TEXT


def test_who_closes_does_not_wait_for_room(docker, copying):
    copying.begin("x", attached(dockerlog.frame(TEXT * 20)[: 150 * 1024]))
    while not copying.blocked:
        select.select([copying.paused], [], [], 0.01)
