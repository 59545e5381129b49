"""The conventions of all requests and answers, contract rest-api.md section 1."""


def test_a_buffer_is_made_and_shown(talk):
    talk.hold("""
        > POST /buffers?api-version=1.0
        >
        > {"id":"","createdAt":"0001-01-01T00:00:00Z","tags":{"b":"2","a":"1"},"eTag":"","isSoftDeleted":false}
        < 201 Created
        < Content-Type: application/json; charset=utf-8
        < ETag: [[etag:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < {"id":"[[id]]","location":"local","createdAt":"[[made:time]]","tags":{"a":"1","b":"2"},"eTag":"[[etag]]"}
        > GET /buffers/[[id]]?api-version=1.0
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        < ETag: [[etag]]
        <
        < {"id":"[[id]]","location":"local","createdAt":"[[made]]","tags":{"a":"1","b":"2"},"eTag":"[[etag]]"}
    """)
