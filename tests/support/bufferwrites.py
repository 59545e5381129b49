"""For the tests of `tyger buffer write`: write the buffer `b`, and what became of it."""

from tests.support import cli


def write(daemon, *arguments, **options):
    daemon.buffer("b")
    return cli.run(daemon.path, "buffer", "write", "b", *arguments, **options)


def state(daemon):
    buffer = daemon.buffers["b"]
    return buffer.state, bytes(buffer.data)
