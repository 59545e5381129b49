"""A buffer's tags and expiry set, and ETag, contract rest-api.md sections 2.5 and 4.6."""

import concurrent.futures
import json

from tests.support import bufferexchanges as buffers
from tests.support import exchanges

JSON = buffers.JSON
ID = buffers.ID
GONE = buffers.GONE
STALE = buffers.STALE


def test_tags_are_replaced_and_the_expiry_is_only_ever_set(talk):
    buffers.make(talk, '{"tags":{"a":"1","b":"2"}}')
    talk.hold(f"""
        {buffers.put('{"tags":{"c":"3"},"expiresAt":"2999-01-01T00:00:00Z"}')}
        {buffers.shown(',"expiresAt":"2999-01-01T00:00:00+00:00","tags":{"c":"3"}')}
        {buffers.put('{"tags":{},"expiresAt":null}')}
        {buffers.shown(',"expiresAt":"2999-01-01T00:00:00+00:00","tags":{}')}
        {buffers.put('{"tags":{"a":"1"}}')}
        {buffers.shown(',"expiresAt":"2999-01-01T00:00:00+00:00","tags":{"a":"1"}')}
        {buffers.put("{}")}
        {buffers.shown(',"expiresAt":"2999-01-01T00:00:00+00:00"')}
        > GET /buffers/[[id]]?api-version=1.0
        < 200 OK
        < {JSON}
        < ETag: [[etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"2999-01-01T00:00:00+00:00","eTag":"[[etag]]"}}
    """)


def test_what_the_clients_set_command_sends(talk):
    """Fields that are none of an update's are ignored, names are taken in any letter case."""
    buffers.make(talk)
    talk.hold(f"""
        {buffers.put('{"eTag":"1","tags":{"a":"1"},"expiresAt":null}')}
        {buffers.shown(',"tags":{"a":"1"}')}
        {buffers.put('{"ID":"[[id]]","TAGS":{"b":"1"},"nonsense":[{}],}')}
        {buffers.shown(',"tags":{"b":"1"}')}
    """)


def test_tags_are_not_looked_at_by_put(talk):
    buffers.make(talk)
    many = {f"k {i}": "ß" for i in range(101)}
    talk.hold(f"""
        {buffers.put('{"tags":{"":"x y","ä":""}}')}
        {buffers.shown(',"tags":{"":"x y","ä":""}')}
        {buffers.put(json.dumps({"tags": many}))}
        {buffers.shown(',"tags":{[[:any]]}')}
        {buffers.put(json.dumps({"tags": {f"k{i}": "" for i in range(1001)}}))}
        {buffers.invalid("No more than 1000 tags can be set")}
    """)


def test_what_put_refuses(talk):
    buffers.make(talk)
    other = "The buffer ID in the URL does not match the buffer ID in the request body."
    talk.hold(f"""
        {buffers.put('{"id":"other"}')}
        {buffers.bad(other)}
        {buffers.put('{"id":""}')}
        {buffers.bad(other)}
        {buffers.put("null")}
        {buffers.invalid("null is not a valid input value")}
        {buffers.put('{"tags":{"a":null}}')}
        {buffers.invalid("Error deserializing input: @").replace("@", "[[:any]]")}
        {buffers.put('{"expiresAt":"tomorrow"}')}
        {buffers.invalid("Error deserializing input: @ Path: $.expiresAt").replace("@", "[[:any]]")}
        {buffers.put("{}", query="&softDeleted=true")}
        {GONE}
        {buffers.put("{}", query="&softDeleted=maybe")}
        {buffers.bad("softDeleted must be true or false")}
        > PUT /buffers/[[id]]?api-version=1.0
        {buffers.invalid("Error deserializing input: @").replace("@", "[[:any]]")}
        > PUT /buffers/{ID}?api-version=1.0
        >
        > {{}}
        {GONE}
        > GET /buffers/[[id]]?api-version=1.0
        {buffers.shown()}
    """)


def test_put_finds_the_state_that_is_asked_for(talk):
    buffers.make(talk)
    talk.hold(f"""
        > DELETE /buffers/[[id]]?api-version=1.0&ttl=1
        {buffers.shown(',"isSoftDeleted":true,"expiresAt":"[[until:time]]"', etag=False)}
        {buffers.put('{"tags":{"a":"1"}}')}
        {GONE}
        {buffers.put('{"tags":{"a":"1"}}', query="&softDeleted=true")}
        {buffers.shown(',"isSoftDeleted":true,"expiresAt":"[[until]]","tags":{"a":"1"}')}
    """)


def test_if_match(talk):
    """Verbatim: no quotes, no lists, no weak tags; empty and `*` ask for nothing."""
    buffers.make(talk)
    talk.hold(f"""
        {buffers.put('{"tags":{"a":"1"}}', "If-Match: [[etag]]")}
        < 200 OK
        < {JSON}
        < ETag: [[new:etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","tags":{{"a":"1"}},"eTag":"[[new]]"}}
        {buffers.put('{"tags":{"a":"2"}}', "If-Match: [[etag]]")}
        {STALE}
        {buffers.put('{"tags":{"a":"2"}}', 'If-Match: "[[new]]"')}
        {STALE}
        {buffers.put('{"tags":{"a":"2"}}', "If-Match: [[new]], [[etag]]")}
        {STALE}
        {buffers.put('{"tags":{"a":"2"}}', 'If-Match: W/"[[new]]"')}
        {STALE}
        {buffers.put('{"tags":{"a":"2"}}', "If-Match: [[etag]]", "If-Match: [[new]]")}
        {STALE}
        > GET /buffers/[[id]]?api-version=1.0
        {buffers.shown(',"tags":{"a":"1"}')}
        {buffers.put('{"tags":{"a":"3"}}', "If-Match: *")}
        {buffers.shown(',"tags":{"a":"3"}')}
        {buffers.put('{"tags":{"a":"4"}}', "If-Match:")}
        {buffers.shown(',"tags":{"a":"4"}')}
        {buffers.put('{"tags":{"a":"5"}}', "If-Match: [[etag]]", "If-Match: 5")}
        {buffers.shown(',"tags":{"a":"5"}')}
    """)


def test_of_many_that_have_one_etag_one_wins(talk):
    buffers.make(talk)

    def change(_):
        with exchanges.talk(talk.path) as one:
            one.values.update(talk.values)
            return one.look(buffers.put('{"tags":{"a":"1"}}', "If-Match: [[etag]]"))[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(change, range(8))) == [200] + [412] * 7


def test_an_etag_is_of_the_state_and_not_of_the_way_there(talk):
    buffers.make(talk)
    talk.hold(
        f"""
        {buffers.put('{"tags":{"a":"1"}}')}
        {buffers.shown(',"tags":{"a":"1"}')}
        {buffers.put("{}")}
        < 200 OK
        < {JSON}
        < ETag: [[first]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","eTag":"[[first]]"}}
        > DELETE /buffers/[[id]]?api-version=1.0
        {buffers.shown(',"isSoftDeleted":true,"expiresAt":"[[:time]]"', etag=False)}
        > POST /buffers/[[id]]/restore?api-version=1.0
        < 200 OK
        < {JSON}
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","eTag":"[[first]]"}}
        """,
        first=talk["etag"],
    )
