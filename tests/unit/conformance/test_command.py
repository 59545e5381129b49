"""`tygerd check-store`: one line a check, one line for what cannot be checked, and nothing left behind."""

import array
import fcntl
import os
import re
import signal
import subprocess
import termios
import time

import pytest

from tests.support import azurite, certificates, daemon, entra
from tygerd import config
from tygerd.conformance import command, remote
from tygerd.stores import azure, network


@pytest.fixture(scope="module")
def server():
    with azurite.azurite() as running:
        yield running


@pytest.fixture
def check(tmp_path):
    def run(text, *arguments):
        (tmp_path / "tygerd.toml").write_text(text)
        argv = [*daemon.TYGERD, "check-store", "--config", str(tmp_path / "tygerd.toml"), *arguments]
        done = subprocess.run(
            argv, env=daemon.environment(tmp_path), capture_output=True, text=True, timeout=300, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


def containers(server):
    """What there is in the account."""
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.storage import blob

    credential = AzureNamedKeyCredential(server.accounts[0], azurite.KEY)
    with blob.BlobServiceClient(server.endpoint(), credential=credential) as service:
        return [found.name for found in service.list_containers()]


def test_an_account_that_does_what_it_must(server, check):
    code, out, err = check(server.config())
    assert (code, err) == (0, ""), out
    *lines, last = out.splitlines()
    assert all(line.startswith("ok      ") for line in lines)
    assert "ok      a blob is written once" in lines
    place = f"{azurite.ACCOUNT} (azurite, {server.endpoint()}/)"
    assert last == f"{place}: all {len(lines)} checks are ok"
    assert containers(server) == []


def test_over_https_with_tokens(check, tmp_path):
    """Our own authority, Entra ID's tokens, URLs signed by a user delegation key."""
    certificate = certificates.make(tmp_path)
    (tmp_path / "secret").write_text(entra.SECRET)
    with azurite.azurite(certificate=certificate) as server, entra.Entra(certificate) as authority:
        code, out, err = check(
            f"""
            [transfer]
            ca_file = "{certificate}"
            [[store.azure]]
            name = "{azurite.ACCOUNT}"
            location = "here"
            endpoint = "{server.endpoint()}"
            [store.azure.credential]
            kind = "client-secret"
            tenant_id = "{entra.TENANT}"
            client_id = "{entra.CLIENT}"
            client_secret_file = "{tmp_path}/secret"
            authority = "{authority.authority}"
            """
        )
    assert (code, err) == (0, ""), out
    assert out.splitlines()[-1].endswith("checks are ok")
    assert authority.asked == 1


@pytest.mark.parametrize(
    ("arguments", "text", "words"),
    [
        ([], "", "has no storage account; add one with [[store.azure]], see tygerd.toml(5)"),
        (["--account", "x"], None, f"has no storage account x; there are {azurite.ACCOUNT}"),
    ],
)
def test_what_is_not_configured(server, check, arguments, text, words):
    code, out, err = check(server.config() if text is None else text, *arguments)
    assert (code, out) == (78, "")
    assert re.fullmatch(rf"tygerd: \S+ {re.escape(words)}\n", err)


def test_a_wrong_key(server, check, tmp_path):
    (tmp_path / "wrong").write_text("d3Jvbmc=")
    code, out, err = check(server.config().replace(server.key_file(), str(tmp_path / "wrong")))
    assert (code, out) == (78, "")
    assert re.fullmatch(r"tygerd: the storage account .*Server failed to authenticate.*restart tygerd\n", err)


def test_a_wrong_account(server, check):
    code, out, err = check(server.config().replace(azurite.ACCOUNT, "another"))
    assert (code, out) == (78, "")
    assert re.fullmatch(r"tygerd: .* another .*; check the account's name and its endpoint\n", err)


def test_a_server_that_is_not_there(server, check):
    code, out, err = check(server.config(port=1))
    assert (code, out) == (69, "")
    assert re.fullmatch(r"tygerd: .* does not answer: Connection refused; check the network\n", err)


def test_one_account_that_fails_does_not_hide_the_next(server, check):
    text = server.config(port=1).replace('name = "' + azurite.ACCOUNT, 'name = "away') + server.config()
    code, out, err = check(text)
    assert code == 69
    assert err.count("\n") == 1
    assert out.splitlines()[-1].endswith("checks are ok")


def test_wrong_arguments(capsys):
    assert command.main(["--nonsense"]) == 64
    assert command.main(["--help"]) == 0
    assert "--account NAME" in capsys.readouterr().out


def waiting(fd):
    """Bytes in a pipe that nobody has read."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def test_an_interrupted_check_leaves_nothing(server, check, tmp_path):
    (tmp_path / "tygerd.toml").write_text(server.config())
    # It cannot come to its end by itself: there is no room for what it says but for the first few lines.
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    filled = os.write(writer, b" " * (4096 - 200))
    running = subprocess.Popen(
        [*daemon.TYGERD, "check-store", "--config", str(tmp_path / "tygerd.toml")],
        env=daemon.environment(tmp_path),
        stdout=writer,
        stderr=subprocess.STDOUT,
    )
    os.close(writer)
    with running, open(reader, "rb") as output:
        while waiting(reader) == filled and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        said = output.read()
        assert running.wait(daemon.PATIENCE) == 130
    assert b"Traceback" not in said
    assert b"checks are ok" not in said
    assert containers(server) == []


class Broken:
    """A store that marks nothing, and whose containers cannot be removed."""

    def __init__(self, store):
        self._store = store
        self.traits = store.traits
        self.stuck = True

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def mark_failed(self, *_):
        pass

    async def delete(self, name):
        if self.stuck and name in self.made:
            raise command.errors.Problem(command.errors.TRY_AGAIN, "not now")
        await self._store.delete(name)


async def test_a_store_that_fails_a_check_is_told_why(server):
    (store,) = azure.stores(config.parse(server.config()), network.Network())
    lines = []
    broken = Broken(store)
    broken.made = []
    assert await command.check(broken, network.Network(), lines.append) == 1
    assert any(
        re.fullmatch(r"FAILED  a failed stream is marked once: the blob does not exist\n", line)
        for line in lines
    )
    assert re.search(r": 1 of \d+ checks FAILED\n", lines[-1])
    assert containers(server) == []


async def test_what_could_not_be_removed_is_named(server):
    (store,) = azure.stores(config.parse(server.config()), network.Network())
    broken = Broken(store)
    bench = remote.Bench(broken, network.Network())
    name = await bench.container()
    broken.made = [name]
    with pytest.raises(command.errors.Problem, match="not now"):
        await bench.remove()
    assert bench.left == [name]
    broken.stuck = False
    await bench.remove()
    assert bench.left == []
    await store.close()
    assert containers(server) == []
