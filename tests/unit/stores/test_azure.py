"""The store itself, on a real Azurite; what every store does is in tests/conformance."""

import os
import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
import trio

from tests.support import azurite, certificates, daemon, entra
from tyger import errors
from tygerd import config
from tygerd.identity import kinds
from tygerd.stores import azure, base, dataplane, network

WRITER = "0123456789abcdef0123456789abcdef"
OTHER = "1123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server():
    with azurite.azurite(accounts=("one", "two")) as running:
        yield running


@pytest.fixture
async def store(server):
    one, _ = azure.stores(config.parse(server.config()), network.Network())
    yield one
    await one.close()


def settings(server, **changes):
    values = {
        "name": "one",
        "location": "here",
        "endpoint": server.endpoint("one"),
        "credential": kinds.Key(key_file=server.key_file()),
    }
    return config.Azure(**(values | changes))


async def refusal(store, operation="create", *arguments):
    with pytest.raises(errors.Problem) as caught:
        await getattr(store, operation)(*(arguments or ("abc",)))
    await store.close()
    return caught.value.kind.code, caught.value.message


# --- making one ------------------------------------------------------------------------------------------


def test_making_a_store_asks_nobody_and_loads_nothing(tmp_path):
    """Neither the network nor Azure's libraries: a daemon starts without both."""
    (tmp_path / "key").write_text(azurite.KEY)
    program = f"""
import sys
from tygerd import config
from tygerd.stores import azure, network
text = '''
[[store.azure]]
name = "account"
location = "west"
credential = {{ kind = "key", key_file = "{tmp_path}/key" }}
[[store.azure]]
name = "other"
location = "west"
credential = {{ kind = "managed-identity" }}
'''
made = azure.stores(config.parse(text), network.Network())
print([store.traits.endpoint for store in made])
print([name for name in sys.modules if name.startswith(("azure", "requests", "msal"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(daemon.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    endpoints = ["https://account.blob.core.windows.net/", "https://other.blob.core.windows.net/"]
    assert done.stdout == f"{endpoints}\n[]\n"


def test_a_file_that_is_missing_is_named_with_its_account(server):
    text = server.config().replace(server.key_file(), "/no/such/file")
    with pytest.raises(errors.Problem) as caught:
        azure.stores(config.parse(text), network.Network())
    assert caught.value.kind is errors.CONFIG
    assert caught.value.message == (
        "store.azure[0] (one): cannot read the credential file /no/such/file: No such file or directory"
    )


async def test_a_connection_string_names_the_endpoint(server, tmp_path):
    (tmp_path / "string").write_text(server.connection_string("two"))
    credential = kinds.ConnectionString(connection_string_file=str(tmp_path / "string"))
    store = azure.AzureStore(
        settings(server, name="two", endpoint=None, credential=credential), network.Network()
    )
    assert store.traits == base.Traits("two", "here", server.endpoint("two") + "/", embedded=False)
    assert not await store.exists("abc")
    await store.close()


# --- what can go wrong -----------------------------------------------------------------------------------


async def test_a_wrong_key(server, tmp_path):
    (tmp_path / "key").write_text("d3Jvbmc=")
    credential = kinds.Key(key_file=str(tmp_path / "key"))
    code, message = await refusal(
        azure.AzureStore(settings(server, credential=credential), network.Network())
    )
    assert code == "Config"
    assert (
        "the storage account one does not let us make a container: Server failed to authenticate" in message
    )
    assert message.endswith(f"copy the account's key to {tmp_path}/key again, then restart tygerd")


async def test_a_wrong_account(server):
    wrong = settings(server, name="three", endpoint=server.endpoint("three"))
    code, message = await refusal(azure.AzureStore(wrong, network.Network()))
    assert code == "Config"
    assert message == (
        "the storage account three does not let us make a container: The specified resource does not exist"
        " (ResourceNotFound); check the account's name and its endpoint"
    )


async def test_a_server_that_is_away_and_comes_back():
    with azurite.azurite(accounts=("one",)) as server:
        store = azure.AzureStore(settings(server), network.Network())
        await store.create("abc")
        server.stop()
        for operation in ("create", "exists", "delete"):
            with pytest.raises(
                errors.Problem, match="does not answer: Connection refused; check the net"
            ) as caught:
                await getattr(store, operation)("abc")
            assert caught.value.kind is errors.UNAVAILABLE
        assert await store.url("abc", writeable=False, ttl=timedelta(seconds=30))
        server.start()
        await store.create("abc")
        await store.close()


async def test_cancelling_does_not_wait_for_a_silent_server(server):
    """But for `create`: what it may yet make must be known before it can be deleted."""
    with azurite.azurite(accounts=("one",)) as silent:
        store = azure.AzureStore(settings(silent), network.Network())
        await store.create("abc")
        os.kill(silent.pid, signal.SIGSTOP)
        with trio.fail_after(60), trio.move_on_after(0.05) as scope:
            await store.exists("abc")
        assert scope.cancelled_caught
        os.kill(silent.pid, signal.SIGCONT)


# --- access URLs -----------------------------------------------------------------------------------------


async def test_the_form_of_a_url(store, server):
    for writeable, permissions in [(False, "r"), (True, "rc")]:
        url = await store.url("abc", writeable=writeable, ttl=timedelta(hours=1))
        place, _, query = url.partition("?")
        assert place == server.endpoint("one") + "/abc"
        fields = dict(part.split("=") for part in query.split("&"))
        assert list(fields) == ["st", "se", "sp", "sv", "sr", "sig"]  # over http: no spr
        assert (fields["sp"], fields["sr"]) == (permissions, "c")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\dZ", fields["st"])


async def test_access_renews_itself(server):
    store = azure.AzureStore(settings(server, access_ttl=config.Seconds(30)), network.Network())
    access = await store.access("abc", writeable=True)
    assert access.renewable
    assert access.clock is store.clock
    assert access.url.path == "/one/abc"
    await store.close()


# --- the lease of a writer -------------------------------------------------------------------------------


async def lease_state(store, container):
    plane = dataplane.DataPlane(await store.access(container, writeable=False))
    try:
        return (await trio.to_thread.run_sync(plane.head, ".bufferstart")).lease
    finally:
        plane.abort()


async def begin(store, container):
    await store.create(container)
    plane = dataplane.DataPlane(await store.access(container, writeable=True))
    md5 = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
    await trio.to_thread.run_sync(plane.put, ".bufferstart", b"", md5, {})
    plane.abort()


async def test_a_writers_lease(server, store):
    await begin(store, "lease")
    assert await lease_state(store, "lease") == "available"
    lease = store.lease("lease", WRITER)
    assert lease.seconds == 60
    await lease.acquire()
    assert await lease_state(store, "lease") == "leased"
    for mine in (lease, store.lease("lease", WRITER)):  # the second: a daemon that was started again
        await mine.acquire()
        await mine.renew()
    with pytest.raises(errors.Problem, match="another writer writes this buffer") as caught:
        await store.lease("lease", OTHER).acquire()
    assert caught.value.kind is errors.CONFLICT
    await store.lease("lease", OTHER).release()
    assert await lease_state(store, "lease") == "leased"
    for _ in range(2):
        await lease.release()
    assert await lease_state(store, "lease") == "available"
    await lease.renew()
    assert await lease_state(store, "lease") == "leased"
    await store.delete("lease")
    await lease.release()
    with pytest.raises(errors.Problem, match="the buffer does not exist, or was not begun"):
        await lease.renew()


async def test_a_lease_does_not_keep_others_from_ending_the_stream(store):
    await begin(store, "ended")
    await store.lease("ended", WRITER).acquire()
    await store.mark_failed("ended", "why")
    plane = dataplane.DataPlane(await store.access("ended", writeable=False))
    assert (await trio.to_thread.run_sync(plane.head, ".bufferend")).length == len(b'{"status":"failed"}')
    plane.abort()
    await store.delete("ended")


# --- tokens ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server that takes tokens."""
    certificate = certificates.make(tmp_path_factory.mktemp("certificate"))
    with azurite.azurite(accounts=("one",), certificate=certificate) as server:
        yield server


@pytest.fixture
def principal(secure, tmp_path):
    """A store that is reached with tokens of our Entra ID, that, and its server."""
    server, certificate = secure, secure.certificate
    (tmp_path / "secret").write_text(entra.SECRET)
    with entra.Entra(certificate) as authority:
        credential = kinds.ClientSecret(
            tenant_id=entra.TENANT,
            client_id=entra.CLIENT,
            client_secret_file=str(tmp_path / "secret"),
            authority=authority.authority,
        )
        account = settings(server, credential=credential)
        yield azure.AzureStore(account, network.Network(ca_file=certificate)), authority, server


async def test_urls_signed_by_a_user_delegation_key(principal):
    store, authority, _ = principal
    assert authority.asked == 0
    await store.create("abc")
    url = await store.url("abc", writeable=True, ttl=timedelta(seconds=30))
    fields = dict(part.split("=") for part in url.partition("?")[2].split("&"))
    assert list(fields) == (
        ["st", "se", "sp", "spr", "sv", "sr", "skoid", "sktid", "skt", "ske", "sks", "skv", "sig"]
    )
    assert (fields["sp"], fields["spr"], fields["sr"]) == ("rc", "https", "c")
    access = await store.access("abc", writeable=True)
    plane = dataplane.DataPlane(access, store._network)
    with pytest.raises(dataplane.BlobNotFoundError):  # so the signature was accepted
        await trio.to_thread.run_sync(plane.head, ".bufferstart")
    plane.abort()
    assert authority.asked == 1
    await store.close()


async def test_a_secret_that_expires_stops_nothing_that_has_a_token(principal):
    store, authority, _ = principal
    await store.create("abc")
    authority.refusal = entra.EXPIRED_SECRET
    await store.create("abc")
    store._credential.forget()
    code, message = await refusal(store)
    assert code == "Config"
    assert message.startswith(
        "Microsoft Entra ID gives no token: AADSTS7000222: The provided client secret keys"
    )
