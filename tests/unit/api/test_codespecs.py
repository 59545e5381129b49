import pytest

V = "api-version=1.0"
NEGATE = {
    "image": "quay.io/linuxserver.io/ffmpeg",
    "args": ["-i", "$(INPUT_PIPE)", "$(OUTPUT_PIPE)"],
    "env": {"MY_VAR": "x"},
    "resources": {"requests": {"cpu": "1", "memory": "1G"}, "gpu": "1"},
    "buffers": {"inputs": ["input"], "outputs": ["output"]},
}


async def put(client, name="negate", **body):
    return await client.call("PUT", f"/codespecs/{name}?{V}", json={"kind": "job", **body})


async def test_put_and_show(client):
    first = await put(client, **NEGATE)
    assert (first.status, first.headers["location"]) == (201, "/codespecs/negate/1")
    made = first.json()
    assert list(made)[:5] == ["kind", "name", "version", "createdAt", "image"]
    assert made == {"kind": "job", "name": "negate", "version": 1, "createdAt": made["createdAt"], **NEGATE}
    again = await put(client, **NEGATE, command=[], workingDir="", sockets=[])
    assert (again.status, again.json()) == (201, made)
    second = await put(client, **{**NEGATE, "image": "other"})
    assert (second.status, second.headers["location"]) == (200, "/codespecs/negate/2")
    latest = await client.call("GET", f"/codespecs/negate?{V}")
    assert (latest.status, latest.json(), latest.headers["location"]) == (
        200,
        second.json(),
        "/codespecs/negate/2",
    )
    old = await client.call("GET", f"/codespecs/negate/versions/1?{V}")
    assert (old.status, old.json()) == (200, made)
    assert "location" not in old.headers


@pytest.mark.parametrize("path", ["other", "negate/versions/2", "negate/versions/x", "negate/versions/1.0"])
async def test_missing(client, path):
    await put(client, **NEGATE)
    answer = await client.call("GET", f"/codespecs/{path}?{V}")
    assert answer.error == (404, "NotFound", "The resource was not found")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "job"}, "missing required properties including: 'image'"),
        ({"kind": "job", "image": ""}, "The image field is required."),
        ({"image": "i"}, "Missing discriminator property 'kind'"),
        (
            {"kind": "x", "image": "i"},
            "Invalid value for the property 'kind'. It can be either 'job' or 'worker'",
        ),
        ({"kind": "worker", "image": "i", "buffers": {"inputs": ["a"]}}, "unrecognized properties 'buffers'"),
        ({"kind": "job", "image": "i", "buffers": {"inputs": ["A"]}}, "Buffer names must consist"),
        ({"kind": "job", "image": "i", "name": "other"}, "must match the name in the URL"),
        (
            {"kind": "job", "image": "i", "resources": {"gpu": "x"}},
            "Error deserializing input: 'x' is not a quantity",
        ),
    ],
)
async def test_put_refuses(client, body, words):
    status, code, message = (await client.call("PUT", f"/codespecs/n?{V}", json=body)).error
    assert (status, code) == (400, "InvalidInput")
    assert words in message


async def test_a_bad_name(client):
    status, code, message = (await put(client, "Negate", image="i")).error
    assert (status, code) == (400, "InvalidInput")
    assert message.startswith("Codespec names must contain only lower case letters")


async def test_pages(client):
    for name in ("a", "b", "c", "ab"):
        await put(client, name, image="i")
    target, names = f"/codespecs?{V}&limit=2", []
    while target:
        page = (await client.call("GET", target)).json()
        names += [item["name"] for item in page["items"]]
        target = page.get("nextLink")
    assert names == ["a", "ab", "b", "c"]
    found = await client.call("GET", f"/codespecs?{V}&prefix=a")
    assert [item["name"] for item in found.json()["items"]] == ["a", "ab"]
    assert (await client.call("GET", f"/codespecs?{V}&_ct=")).error[:2] == (400, "InvalidInput")
