"""`tyger buffer write` by access URL, from a literal or a file."""

from tests.support import bufferwrites, cli

URL = "https://account.blob.core.windows.net/b"


def test_an_access_url(daemon):
    daemon.buffer("b")
    daemon.access[f"{URL}?sig=secret"] = "b"
    done = cli.run(daemon.path, "buffer", "write", f"{URL}?sig=secret", data=b"hello")
    assert done.code == 0
    assert bufferwrites.state(daemon) == ("complete", b"hello")
    assert daemon.requests[0].body["url"] == f"{URL}?sig=secret"
    assert "secret" not in done.err
    assert "buffer=b " in done.err


def test_an_access_url_that_has_expired(daemon):
    done = cli.run(daemon.path, "buffer", "write", f"{URL}?sig=secret", "--log-level", "trace")
    assert done.code == 77
    assert "Signature not valid in the specified time frame; get another access URL, name a file" in done.err
    assert "secret" not in done.err


def test_an_access_file_is_renewed_while_it_is_written(daemon, tmp_path):
    buffer = daemon.buffer("b")
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1\n")
    daemon.access[f"{URL}?sig=1"] = "b"
    with cli.start(daemon.path, "buffer", "write", file) as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        file.write_text(f"{URL}?sig=2\n")
        daemon.access = {f"{URL}?sig=2": "b"}
        buffer.say(event="renew")
        asked = daemon.wait_asked("POST", f"/transfers/{buffer.transfer}/access")
        process.stdin.close()
        assert process.wait(60) == 0
    assert asked[0].body == {"url": f"{URL}?sig=2"}
    assert bufferwrites.state(daemon) == ("complete", b"half")
