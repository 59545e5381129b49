"""The command lines of the pump in a pod."""

from tygerd.engines.kubernetes import pumpargs
from tygerd.supervisor import spec


def test_a_pod_whose_buffers_are_files():
    assert pumpargs.prepare(["in", "out"]) == ["tygerd", "pump", "prepare", "--fifo=in", "--fifo=out"]
    assert pumpargs.pod(["in"], ["out"]) == ["tygerd", "pump", "pod", "--input=in", "--output=out"]


def test_workers_sockets_and_relays():
    assert pumpargs.prepare([], ["a.b", "c.d"])[3:] == ["--host=a.b", "--host=c.d"]
    sockets = [spec.Socket(80, "in", None), spec.Socket(81, None, "out")]
    assert pumpargs.pod(["in"], ["out"], sockets, ["out"], relay_port=7)[3:] == [
        "--input=in",
        "--output=out",
        "--socket=80:in:",
        "--socket=81::out",
        "--relay=out",
        "--relay-port=7",
    ]


def test_main_is_held_back():
    assert pumpargs.ready() == ["tygerd", "pump", "ready"]
