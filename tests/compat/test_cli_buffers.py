"""`tyger buffer` as scripts of the original's command line know it (contract cli.md 1.6, 4 and 12)."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.support import transcripts


@pytest.fixture
def script(host):
    return transcripts.Script(host)


CREATED = """\
{
  "id": "<id:a>",
  "createdAt": "<time>",
  "location": "local",
  "eTag": "<etag>"
}
"""


def test_create_prints_the_id_and_nothing_else(script):
    script.prints("buffer create", "<id>\n")
    script.prints("buffers create --tag a=1 --location local --ttl 1.12", "<id>\n")


def test_the_whole_resource(script):
    script.prints("buffer create --full-resource", CREATED)
    script.prints("buffer show {a}", CREATED.replace("<id:a>", "{a}"))
    script.prints(
        "buffer create --full-resource --ttl 0.00:30 --tag b=2,a=1,c=3",
        '{\n  "id": "<id>",\n  "createdAt": "<time>",\n  "location": "local",\n'
        '  "tags": {\n    "a": "1",\n    "b": "2",\n    "c": "3"\n  },\n'
        '  "eTag": "<etag>",\n  "expiresAt": "<time>"\n}\n',
    )


def test_tags_are_merged_replaced_and_guarded_by_an_etag(script):
    script.prints("buffer create --tag a=1 --tag b=2", "<id:x>\n")
    head = '{\n  "id": "{x}",\n  "createdAt": "<time>",\n  "location": "local",\n'
    script.prints(
        "buffer set {x} --tag b=3",
        head + '  "tags": {\n    "a": "1",\n    "b": "3"\n  },\n  "eTag": "<etag:first>"\n}\n',
    )
    script.prints(
        "buffer set {x} --tag c=4 --etag {first} --ttl 2",
        head
        + '  "tags": {\n    "a": "1",\n    "b": "3",\n    "c": "4"\n  },\n'
        + '  "eTag": "<etag:second>",\n  "expiresAt": "<time:until>"\n}\n',
    )
    script.fails(
        "buffer set {x} --tag c=5 --etag {first}",
        75,
        "Error: the server's ETag does not match the provided ETag\n",
    )
    script.fails("buffer set {x} --clear-tags --etag {first}", 75, "Error: <rest>\n")
    script.prints(
        "buffer set {x} --clear-tags",
        head + '  "eTag": "<etag>",\n  "expiresAt": "{until}"\n}\n',
    )


def test_a_life_that_ends_now(script):
    script.prints("buffer create --tag end=now", "<id:x>\n")
    script.prints(
        "buffer set {x} --ttl 0",
        '{\n  "id": "{x}",\n  "createdAt": "<time>",\n  "location": "local",\n'
        '  "tags": {\n    "end": "now"\n  },\n  "eTag": "<etag>",\n  "expiresAt": "<time:end>"\n}\n',
    )
    end = dt.datetime.fromisoformat(script.known["end"])
    assert abs(end - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)


def test_the_two_layouts_of_a_list(script):
    script.prints("buffer list --tag list=two", "[]\n")
    script.prints("buffer create --tag list=two", "<id:a>\n")
    script.prints("buffer create --tag list=two --tag out=1", "<id:b>\n")

    def item(name, tags, indent):
        lines = [
            "{",
            f'  "id": "{{{name}}}",',
            '  "createdAt": "<time>",',
            '  "location": "local",',
            '  "tags": {',
            *(
                f'    "{key}": "{value}"{"," * (index < len(tags) - 1)}'
                for index, (key, value) in enumerate(tags)
            ),
            "  },",
            '  "eTag": "<etag>"',
            "}",
        ]
        return "\n".join(indent + line for line in lines)

    a = ("a", [("list", "two")])
    b = ("b", [("list", "two"), ("out", "1")])
    one_page = f"[\n{item(*b, '    ')},\n{item(*a, '    ')}\n  ]\n"
    script.prints("buffer list --tag list=two", one_page)
    script.prints("buffers list --tag list=two --limit 2", one_page)
    script.prints("buffer list --tag list=two --limit 3000", one_page)
    script.prints("buffer list --tag list=two --exclude-tag out=1", f"[\n{item(*a, '    ')}\n  ]\n")
    # There are more than were asked for: the first page is not the last.
    script.prints("buffer list --tag list=two -l 1", f"[\n{item(*b, '  ')}\n]\n")
    script.prints("buffer list --tag list=two --limit 0", "[]\n")
    script.fails("buffer list --limit -1", 65, "Error: InvalidInput: Limit must be a non-negative integer.\n")


GONE = """\
{
  "id": "{a}",
  "createdAt": "<time>",
  "location": "local",
  "eTag": "<etag>",
  "expiresAt": "<time>"
}
"""


def test_delete_restore_and_purge_by_id(script):
    script.prints("buffer create", "<id:a>\n")
    script.prints("buffer create", "<id:b>\n")
    script.prints("buffer delete {a}", GONE)
    script.fails("buffer show {a}", 66, "Error: NotFound: <rest>\n")
    script.prints("buffer show {a} --soft-deleted", GONE)
    script.prints("buffer restore {a}", CREATED.replace("<id:a>", "{a}"))
    both = "".join("  " + line + "\n" for line in GONE.splitlines())[:-1]
    script.prints("buffer delete {a} {b}", "[\n" + both + ",\n" + both.replace("{a}", "{b}") + "\n]\n")
    script.prints("buffer purge {a}", GONE)
    script.fails("buffer delete {a}", 66, "Error: NotFound: <rest>\n")


def test_many_at_once(script):
    script.prints("buffer delete --tag many=yes", "No buffers found.\n")
    for _ in range(2):
        script.prints("buffer create --tag many=yes", "<id>\n")
    script.prints("buffer delete --tag many=yes --exclude-tag no=1 --force", "Deleted 2 buffers.\n")
    script.prints("buffer list --tag many=yes", "[]\n")
    script.prints("buffer restore --tag many=yes --force", "Restored 2 buffers.\n")
    script.prints("buffer delete --tag many=yes --force", "Deleted 2 buffers.\n")
    script.prints("buffer purge --tag many=yes --force", "Purged 2 buffers.\n")
    message = 'FTL One of ID, --tag, or --all must be specified error="<rest>"\n'
    for arguments in ("", "--exclude-tag a=b", "{x} --all", "--all --tag a=b"):
        script.known["x"] = "a" * 26
        script.fails(f"buffer delete {arguments}", 64, f"<stamp> {message}")


def test_bytes_go_in_and_come_out(script, tmp_path):
    script.prints("buffer create", "<id:a>\n")
    script.prints("buffer write {a}", "", data=b"\x00signal\xff", err=None)
    script.prints("buffer read {a}", "\x00signal\udcff", err=None)
    script.prints(f"buffer read {{a}} -o={tmp_path}/out", "", err=None)
    assert (tmp_path / "out").read_bytes() == b"\x00signal\xff"
    assert (tmp_path / "out").stat().st_mode & 0o777 & ~0o022 == 0o644
    script.prints("buffer create", "<id:b>\n")
    script.prints(f"buffer write {{b}} --input {tmp_path}/out", "", err=None)
    script.prints("buffer read {b} --dop 1", "\x00signal\udcff", err=None)


def test_progress_is_told_in_records(script):
    script.prints("buffer create", "<id:a>\n")
    script.prints(
        "buffer write {a}",
        "",
        data=b"x" * 3072,
        err='<stamp> INF Transfer starting buffer={a} operation="buffer write"\n'
        "<stamp> INF Transfer complete avgThroughput=<rest> buffer={a} elapsed=<rest>"
        ' operation="buffer write" totalCompletedData=3.0KiB\n',
    )


def test_access_prints_a_url(script):
    script.prints("buffer create", "<id:a>\n")
    for flags in ("", "--write", "-w --access-ttl 0.00:05", "--write=false"):
        done = script.run(f"buffer access {{a}} {flags}")
        assert done.code == 0
        assert done.out.startswith(("http://", "http+unix://"))
        assert f"/containers/{script.known['a']}?" in done.out
        assert done.out.count("\n") == 1
    script.fails(
        "buffer access {a} --access-ttl 1.24",
        64,
        "<stamp> FTL Invalid access TTL format error=\"invalid hours in TTL format: '1.24'; <rest>\"\n",
    )


def test_generated_bytes(script, tmp_path):
    pattern = "".join(chr(58 + index) for index in range(64))
    script.prints("buffer gen 100B", (pattern * 2)[:100])
    script.prints("buffer gen 0", "")
    script.prints(f"buffer gen 1K -o {tmp_path}/g", "")
    assert (tmp_path / "g").read_text("latin-1") == pattern * 16


def test_the_places_where_buffers_are_kept(script):
    account = '[\n  {\n    "name": "local",\n    "location": "local",\n    "endpoint": "<rest>"\n  }\n]\n'
    script.prints("buffer storage-account list", account)
    script.prints("buffer storage-accounts list", account)


def test_what_is_not_there_or_not_valid(script):
    script.known["x"] = "a" * 26
    for line in ("buffer show {x}", "buffer set {x} --tag a=b", "buffer access {x}", "buffer delete {x}"):
        done = script.run(line)
        assert done.code == 66
        assert done.err.startswith("Error: NotFound: ")
        assert "was not found" in done.err
        assert done.out == ""
    script.fails(
        "buffer create --tag 'a b=c'",
        65,
        "Error: InvalidInput: Tag keys must contain up to 128 letters (a-z, A-Z), numbers (0-9) and"
        " underscores (_)\n",
    )
    script.fails("buffer create --location moon", 65, "Error: InvalidInput: <rest>\n")
    script.fails(
        "buffer read {x}", 66, '<stamp> FTL Unable to access buffer error="NotFound: <rest>" buffer={x}\n'
    )
