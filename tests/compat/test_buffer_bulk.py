"""Bulk operations of buffers, contract rest-api.md section 4.9; what was there before does not count."""

from tests.support.bufferexchanges import JSON

COUNT = "> GET /buffers/count?api-version=1.0"


def number(value):
    """A bare JSON integer."""
    return f"\n< 200 OK\n< {JSON}\n<\n< {value}\n"


def many(talk, key, count):
    for at in range(count):
        talk.hold(f"""
            > POST /buffers?api-version=1.0
            >
            > {{"tags":{{"{key}":"{at}","all":"{key}"}}}}
            < 201 Created
            < {JSON}
            < ETag: [[:etag]]
            < Location: /buffers/[[{key}{at}:buffer]]
            <
            < [[:any]]
        """)


def bulk(operation, query):
    """What the client's commands send, with the parameters that they add for their count."""
    path = {"restore": "POST /buffers/restore", "delete": "DELETE /buffers", "purge": "DELETE /buffers"}[
        operation
    ]
    return f"> {path}?api-version=1.0&tag[all]={query}"


def test_bulk_operations(talk):
    many(talk, "k", 4)
    talk.hold(f"""
        {bulk("delete", "k&excludeTag[k]=0&softDeleted=false")}
        {number(3)}
        {bulk("delete", "k&excludeTag[k]=0&softDeleted=false")}
        {number(0)}
        {COUNT}&tag[all]=k
        {number(4)}
        {COUNT}&tag[all]=k&softDeleted=true
        {number(3)}
        {COUNT}&tag[all]=k&softDeleted=false
        {number(1)}
        {bulk("restore", "k&softDeleted=true&tag[k]=1")}
        {number(1)}
        {bulk("restore", "k&softDeleted=false&tag[k]=2")}
        {number(1)}
        {bulk("restore", "k&softDeleted=nonsense&tag[unknown]=2")}
        {number(0)}
        {bulk("purge", "k&ttl=0&softDeleted=true")}
        {number(1)}
        {COUNT}&tag[all]=k
        {number(3)}
        {bulk("delete", "k&ttl=0")}
        {number(3)}
        {COUNT}&tag[all]=k
        {number(0)}
        {bulk("restore", "k")}
        {number(0)}
    """)


def test_bulk_without_a_filter_is_everything(talk):
    talk.hold(f"""
        > DELETE /buffers?api-version=1.0&softDeleted=false
        < 200 OK
        < {JSON}
        <
        < [[:number]]
        {COUNT}&softDeleted=false
        {number(0)}
        > DELETE /buffers?api-version=1.0&softDeleted=true&ttl=0
        < 200 OK
        < {JSON}
        <
        < [[:number]]
        {COUNT}
        {number(0)}
    """)
