"""Export and import between real stores: two accounts of an Azurite, and the embedded store."""

import contextlib
import json
import os

import pytest
from azure.storage import blob

from tests.support import azurite as azurites
from tests.support import daemon, faultproxy, streaming
from tests.support import faultproxy_faults as faults
from tyger import client, errors
from tygerd.blocks import names

BLOCK = 64 * 1024
MIB = 1 << 20


@pytest.fixture(scope="module")
def accounts():
    with azurites.azurite(accounts=("first", "second")) as server:
        yield server


@contextlib.contextmanager
def site(server, *, proxies=()):
    """A daemon that has both accounts, each a location of its own, and the embedded store."""
    text = '[transfer]\nproxy = "none"\n'
    for account in server.accounts:
        text += (
            f'[[store.azure]]\nname = "{account}"\nlocation = "{account}"\n'
            f'endpoint = "{server.endpoint(account, dict(proxies).get(account))}"\n'
            f'credential = {{ kind = "key", key_file = "{server.key_file()}" }}\n'
        )
    with daemon.daemon(config=text) as it, streaming.streaming(it, block=BLOCK) as streams:
        yield it, streams


def ask(it, method, target, body=None):
    return client.Client(it.socket).request(method, target, body=body).json()


def begin(it, server, source, **more):
    """The run of an export to the second account."""
    body = {"sourceStorageAccountName": source, "destinationStorageEndpoint": server.endpoint("second")}
    return ask(it, "POST", "/buffers/export", {**body, **more})


def export(it, server, source, **more):
    """The same; its end is waited for."""
    return finished(it, begin(it, server, source, **more))


def finished(it, run):
    with client.Client(it.socket).stream("GET", f"/runs/{run['id']}", query=[("watch", "true")]) as answer:
        return json.loads(list(answer.lines())[-1])


def log(it, run):
    answer = client.Client(it.socket).request("GET", f"/runs/{run['id']}/logs")
    return [json.loads(line) for line in answer.body.splitlines()]


def service(server, account):
    return blob.BlobServiceClient.from_connection_string(server.connection_string(account))


def tagged(it, streams, location, **tags):
    """A buffer with 2 MiB in it."""
    body = {"location": location, "tags": tags}
    made = ask(it, "POST", "/buffers", body)["id"]
    streams.write(made, sum(made.encode()), 2 * MIB).finish()
    return made


def test_everything_comes_over(accounts):
    with site(accounts) as (it, streams):
        tag = {"series": os.urandom(4).hex(), "Upper-and.dots": "x"}
        whole = tagged(it, streams, "first", **tag)
        other = tagged(it, streams, "first", series="other")
        deleted = tagged(it, streams, "first", **tag)
        ask(it, "DELETE", f"/buffers/{deleted}")
        unwritten = ask(it, "POST", "/buffers", {"location": "first", "tags": tag})["id"]

        run = export(it, accounts, "first", filters={"series": tag["series"]})
        assert (run["kind"], run["status"]) == ("system", "Succeeded")
        said = log(it, run)
        assert [
            (line["level"], line.get("buffer")) for line in said if line["message"] == "Buffer skipped"
        ] == [("warn", unwritten)]
        assert said[-1]["message"] == "Export complete"
        assert (said[-1]["exported"], said[-1]["skipped"], said[-1]["unfinished"]) == (2, 0, 1)
        there = {one.name for one in service(accounts, "second").list_containers()}
        assert {whole, deleted} <= there
        assert other not in there

        again = export(it, accounts, "first", filters={"series": tag["series"]})
        assert (log(it, again)[-1]["exported"], log(it, again)[-1]["skipped"]) == (0, 2)

    with site(accounts) as (elsewhere, streams):
        run = finished(elsewhere, ask(elsewhere, "POST", "/buffers/import", {"storageAccountName": "second"}))
        assert run["status"] == "Succeeded"
        batches = [line for line in log(elsewhere, run) if line["message"] == "Inserted batch"]
        assert batches[0]["newBuffers"] >= 2
        assert batches[0]["totalCount"] == batches[0]["newBuffers"]
        found = ask(elsewhere, "GET", f"/buffers/{whole}")
        assert (found["location"], found["tags"]) == ("second", tag)
        made = streams.read(whole, sum(whole.encode())).finish()
        assert made.bytes == 2 * MIB
        run = finished(elsewhere, ask(elsewhere, "POST", "/buffers/import", {"storageAccountName": "SECOND"}))
        assert log(elsewhere, run)[-1]["totalCount"] == 0


def test_the_embedded_store_too_and_by_command(accounts):
    with site(accounts) as (it, streams):
        buffer = tagged(it, streams, "local", by="hand")
        done = streams.run(
            "buffer", "export", accounts.endpoint("second"), "--source-storage-account", "local"
        )
        said = done.stderr.decode()
        assert done.returncode == 0, said
        assert f"INF Exported buffer buffer={buffer} bytes=2097152 status=complete" in said
        there = service(accounts, "second").get_container_client(buffer)
        assert there.get_blob_client(".bufferend").download_blob().readall() == b'{"status":"complete"}'


def test_a_daemon_that_is_killed_goes_on_where_it_was(accounts):
    """Killed in the middle of an export: the next one ends it, and everything is there and exact."""
    with (
        faultproxy.Proxy((accounts.host, accounts.port)) as proxy,
        site(accounts, proxies={"second": proxy.address[1]}) as (it, streams),
    ):
        tag = {"killed": os.urandom(4).hex()}
        buffers = [tagged(it, streams, "local", **tag) for _ in range(12)]
        target = service(accounts, "second")
        body = {
            "sourceStorageAccountName": "local",
            "destinationStorageEndpoint": accounts.endpoint("second", proxy.address[1]),
        }
        held = proxy.fault(faults.silence(), "PUT", f"{buffers[-1]}/00/*", container="second", times=None)
        run = ask(it, "POST", "/buffers/export", {**body, "filters": tag})
        with client.Client(it.socket).stream(
            "GET", f"/runs/{run['id']}/logs", query=[("follow", "true")]
        ) as log_:
            next(line for line in log_.lines() if b"Exported buffer" in line)
        proxy.wait(lambda: held.met)
        it.kill()
        proxy.lift(held)
        it.start()
        assert finished(it, run)["status"] == "Succeeded"
        for buffer in buffers:
            there = target.get_container_client(buffer)
            assert there.get_container_properties().metadata["tyger_exported_buffer_status"] == "exported"
            blocks = [one for one in there.list_blobs() if not one.name.startswith(".")]
            assert sum(one.size for one in blocks) == 2 * MIB
        said = [line["message"] for line in log(it, run)]
        assert said.count("Starting export") == 2
        assert said[-1] == "Export complete"


def test_cancelled_it_stops(accounts):
    with site(accounts) as (it, streams):
        tag = {"cancelled": os.urandom(4).hex()}
        tagged(it, streams, "local", **tag)
        body = {
            "sourceStorageAccountName": "local",
            "destinationStorageEndpoint": accounts.endpoint("second"),
        }
        run = ask(it, "POST", "/buffers/export", {**body, "filters": tag})
        answer = ask(it, "POST", f"/runs/{run['id']}/cancel")
        assert answer["status"] in {"Canceled", "Succeeded"}
        assert finished(it, run)["status"] == answer["status"]


@pytest.mark.parametrize("damage", [b"", b"x" * BLOCK])
def test_a_damaged_block_is_told_and_not_copied_as_good(accounts, damage):
    with site(accounts) as (it, streams):
        tag = {"damaged": os.urandom(4).hex()}
        bad, good = (tagged(it, streams, "first", **tag) for _ in range(2))
        container = service(accounts, "first").get_container_client(bad)
        block = container.get_blob_client(names.block_name(3))
        metadata = block.get_blob_properties().metadata
        block.upload_blob(damage, overwrite=True, metadata=metadata)
        run = export(it, accounts, "first", filters=tag)
        assert run["status"] == "Failed"
        assert run["statusReason"] == "1 of 2 buffers could not be exported; the run's log says why"
        said = {line["buffer"]: line for line in log(it, run) if "buffer" in line}
        assert said[good]["message"] == "Exported buffer"
        assert said[bad]["message"] == "Failed to export buffer"
        there = service(accounts, "second").get_container_client(bad)
        assert not there.get_blob_client(".bufferend").exists()
        assert not there.get_container_properties().metadata


def test_a_user_cannot_submit_one(accounts):
    with site(accounts) as (it, _streams):
        job = {"codespec": {"kind": "job", "image": "tygerd", "args": ["import", "--storage-account=second"]}}
        with pytest.raises(errors.Problem):
            ask(it, "POST", "/runs", {"job": job})
        with pytest.raises(errors.Problem, match="System runs cannot be created directly"):
            ask(it, "POST", "/runs", {"kind": "system", "job": job})
