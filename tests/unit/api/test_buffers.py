import pytest

from tests.support import memorystore
from tygerd import config
from tygerd.buffers import service
from tygerd.stores import places

V = "api-version=1.0"


async def create(client, **body):
    answer = await client.call("POST", f"/buffers?{V}", json=body)
    assert answer.status == 201
    return answer.json()


async def test_create(client):
    answer = await client.call(
        "POST",
        f"/buffers?{V}",
        json={"id": "", "createdAt": "0001-01-01T00:00:00Z", "tags": {"b": "2", "a": "1"}, "eTag": "1"},
    )
    made = answer.json()
    assert answer.status == 201
    assert answer.headers["etag"] == made["eTag"]
    assert answer.headers["location"] == f"/buffers/{made['id']}"
    assert list(made) == ["id", "location", "createdAt", "tags", "eTag"]
    assert (await client.call("GET", f"/buffers/{made['id']}?{V}")).json() == made


async def test_an_empty_object_makes_a_buffer(client):
    answer = await client.call("POST", f"/buffers?{V}", b"{}")
    assert answer.status == 201
    assert "tags" not in answer.json()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Error deserializing input"),
        (b"null", "null is not a valid input value"),
        (b"[1]", "Error deserializing input"),
        (b'{"nme":1,"x":2}', "Object contains unrecognized properties 'nme', 'x'."),
        (b'{"tags":{"a b":"c"}}', "Tag keys must contain"),
        (b'{"location":"westus"}', "Buffer location can only be 'local."),
        (b'{"expiresAt":"soon"}', "Error deserializing input: invalid timestamp 'soon'"),
    ],
)
async def test_create_refuses(client, body, words):
    status, code, message = (await client.call("POST", f"/buffers?{V}", body)).error
    assert (status, code) == (400, "InvalidInput")
    assert words in message


async def test_show(client):
    made = await create(client)
    answer = await client.call("GET", f"/buffers/{made['id']}?{V}")
    assert (answer.status, answer.headers["etag"]) == (200, made["eTag"])
    missing = (404, "NotFound", "The resource was not found")
    assert (await client.call("GET", f"/buffers/unknown?{V}")).error == missing
    assert (await client.call("GET", f"/buffers/{made['id']}?{V}&softDeleted=TRUE")).error == missing
    bad = await client.call("GET", f"/buffers/{made['id']}?{V}&softDeleted=maybe")
    assert bad.error == (400, "BadRequest", "softDeleted must be true or false")


async def test_update(client):
    made = await create(client, tags={"a": "1"})
    target = f"/buffers/{made['id']}?{V}"
    stale = [("If-Match", "1")]
    answer = await client.call("PUT", target, headers=stale, json={"tags": {"b": "2"}})
    assert answer.error == (412, "PreconditionFailed", "ETag does not match")
    body = {"eTag": "x", "tags": {"b": "2"}, "expiresAt": None, "unheardOf": 1}
    answer = await client.call("PUT", target, headers=[("If-Match", made["eTag"])], json=body)
    changed = answer.json()
    assert (answer.status, answer.headers["etag"], changed["tags"]) == (200, changed["eTag"], {"b": "2"})
    assert (await client.call("GET", target)).json() == changed
    assert "tags" not in (await client.call("PUT", target, json={})).json()
    assert (await client.call("PUT", target, b"")).error[:2] == (400, "InvalidInput")
    assert (await client.call("PUT", target, json={"id": "other"})).error == (
        400,
        "BadRequest",
        "The buffer ID in the URL does not match the buffer ID in the request body.",
    )


async def test_delete_restore_and_purge(client):
    made = await create(client)
    target = f"/buffers/{made['id']}"
    deleted = await client.call("DELETE", f"{target}?{V}")
    assert deleted.status == 200
    assert deleted.json()["isSoftDeleted"] is True
    assert "etag" not in deleted.headers
    again = await client.call("DELETE", f"{target}?{V}")
    assert again.error == (412, "PreconditionFailed", "Buffer is already soft-deleted")
    restored = await client.call("POST", f"{target}/restore?{V}")
    assert restored.json() == made
    purged = await client.call("DELETE", f"{target}?{V}&ttl=0&softDeleted=true")
    assert purged.error == (412, "PreconditionFailed", "Buffer is not soft-deleted")
    await client.call("DELETE", f"{target}?{V}")
    purged = await client.call("DELETE", f"{target}?{V}&ttl=0&softDeleted=true")
    assert purged.status == 200
    assert (await client.call("POST", f"{target}/restore?{V}")).error[:2] == (404, "NotFound")


@pytest.mark.parametrize("ttl", ["-1", "x", "1.02", "24:00", "-00:01"])
async def test_a_bad_ttl(client, ttl):
    made = await create(client)
    answer = await client.call("DELETE", f"/buffers/{made['id']}?{V}&ttl={ttl}")
    assert answer.error == (400, "BadRequest", "ttl must be a valid, non-negative TimeSpan")


async def test_bulk_and_count(client):
    for value in "112":
        await create(client, tags={"a": value})

    async def count(extra=""):
        answer = await client.call("GET", f"/buffers/count?{V}{extra}")
        assert answer.status == 200
        return answer.json()

    assert await count() == 3
    assert await count("&tag%5Ba%5D=1") == 2
    assert await count("&tag[a]=1&tag[a]=2") == 2
    assert await count("&excludeTag[a]=1") == 1
    assert (await client.call("DELETE", f"/buffers?{V}&tag[a]=1")).body == b"2"
    assert await count("&softDeleted=true") == 2
    assert await count("&softDeleted=false") == 1
    assert await count("&softDeleted=perhaps") == 3
    assert (await client.call("POST", f"/buffers/restore?{V}&softDeleted=true")).body == b"2"
    assert (await client.call("DELETE", f"/buffers?{V}&ttl=0")).body == b"3"
    assert await count() == 0


async def test_pages(client):
    made = [(await create(client, tags={"n": str(n)}))["id"] for n in range(5)]
    target, seen = f"/buffers?limit=2&{V}&excludeTag[n]=9", []
    while target:
        page = (await client.call("GET", target)).json()
        seen += [item["id"] for item in page["items"]]
        target = page.get("nextLink")
        if target:
            assert target.startswith("/buffers?limit=2&api-version=1.0&excludeTag%5Bn%5D=9&_ct=")
            assert len(page["items"]) == 2
    assert seen == made[::-1]


async def test_links_of_the_old_prefix_lead_to_the_new_paths(client):
    for _ in range(2):
        await create(client)
    page = (await client.call("GET", "/v1/buffers?limit=1")).json()
    assert page["nextLink"].startswith("/buffers?limit=1&api-version=1.0&_ct=")
    assert (await client.call("GET", page["nextLink"])).status == 200


async def test_limits(client):
    await create(client)
    assert (await client.call("GET", f"/buffers?{V}&limit=0")).json() == {"items": []}
    (item,) = (await client.call("GET", f"/buffers?{V}&limit=99999")).json()["items"]
    assert item["tags"] == {}
    negative = await client.call("GET", f"/buffers?{V}&limit=-1")
    assert negative.error == (400, "InvalidInput", "Limit must be a non-negative integer.")
    for bad in ("abc", "1.5", "3000000000", ""):
        assert (await client.call("GET", f"/buffers?{V}&limit={bad}")).error[:2] == (400, "BadRequest")
    for token in ("", "l", "0", "mctgs5dbpioze4bnmw", "mc5dgqbwgrhdyc3sgohu1pjtge5drcbcgr3dgze"):
        answer = await client.call("GET", f"/buffers?{V}&_ct={token}")
        assert answer.error == (400, "InvalidInput", "Invalid continuation token.")


async def test_access(client):
    made = await create(client)
    target = f"/buffers/{made['id']}/access?{V}"
    answer = await client.call("POST", f"{target}&writeable=true&preferTcp=true&fromDocker=False")
    assert answer.status == 201
    uri = answer.json()["uri"]
    assert uri.startswith(
        f"http+unix:///run/tyger/tyger.sock:/containers/{made['id']}?api-version=1.0&sv=0.1.0&sp=cr&"
    )
    assert "&sp=r&" in (await client.call("POST", target)).json()["uri"]
    short = await client.call("POST", f"{target}&ttl=00:00:29")
    assert short.error == (400, "InvalidInput", "Access TTL must be at least 30 seconds.")
    assert (await client.call("POST", f"{target}&writeable=1")).error[:2] == (400, "BadRequest")
    for unknown in ("unknown", "a-b"):
        assert (await client.call("POST", f"/buffers/{unknown}/access?{V}")).error[:2] == (404, "NotFound")
    temporary = await client.call("POST", f"/buffers/temp-x/access?{V}")
    assert (temporary.status, temporary.json()) == (201, {"uri": "temporary"})


async def test_access_for_other_machines(app, client):
    app.store._urls.tcp = "https://10.77.0.1:8443"
    app.config = config.Config(store=config.Store(local=config.Local(listen="10.77.0.1:8443")))
    made = await create(client)
    target = f"/buffers/{made['id']}/access?{V}"
    uri = (await client.call("POST", f"{target}&preferTcp=true")).json()["uri"]
    assert uri.startswith(f"https://10.77.0.1:8443/containers/{made['id']}?")
    assert (await client.call("POST", target)).json()["uri"].startswith("http+unix://")


async def test_storage_accounts_and_what_needs_more_than_one(client):
    answer = await client.call("GET", f"/buffers/storage-accounts?{V}")
    assert answer.json() == [
        {"name": "local", "location": "local", "endpoint": "http+unix:///run/tyger/tyger.sock:/"}
    ]
    for verb, what, field in (
        ("export", "Exporting", "destinationStorageEndpoint"),
        ("import", "Importing", "storageAccountName"),
    ):
        nothing = await client.call("POST", f"/buffers/{verb}?{V}", json={field: ""})
        assert nothing.error == (400, "InvalidInput", "An empty object is not a valid input value")
        refused = await client.call("POST", f"/buffers/{verb}?{V}", json={field: "x"})
        assert refused.error == (
            400, "InvalidInput", f"{what} buffers is not supported with local storage.",
        )  # fmt: skip


async def test_a_buffer_in_a_storage_account(app, client):
    far = memorystore.MemoryStore("far", "west")
    app.places = places.Places(app.store, [far])
    app.buffers = service.Buffers(app.catalog, app.places, config.Buffers())
    made = await client.call("POST", f"/buffers?{V}", json={})
    assert made.status == 201
    assert made.json()["location"] == "west"
    access = await client.call("POST", f"/buffers/{made.json()['id']}/access?{V}&writeable=true")
    assert access.json() == {"uri": f"https://far.example/{made.json()['id']}?sp=rc&seconds=3600"}
    wrong = await client.call("POST", f"/buffers?{V}", json={"location": "east"})
    assert wrong.error == (400, "InvalidInput", "No storage accounts configured for location 'east'")
    accounts = await client.call("GET", f"/buffers/storage-accounts?{V}")
    assert [account["name"] for account in accounts.json()] == ["local", "far"]
    itself = await client.call(
        "POST", f"/buffers/export?{V}", json={"destinationStorageEndpoint": far.traits.endpoint}
    )
    assert itself.error == (400, "InvalidInput", "The destination is the storage account 'far' itself.")


async def test_the_version_is_required(client):
    assert (await client.call("GET", "/buffers")).error[:2] == (400, "ApiVersionUnspecified")
    assert (await client.call("GET", "/v1/buffers")).status == 200
