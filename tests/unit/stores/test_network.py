"""Settings of the network."""

from tygerd.stores import network


def test_defaults():
    assert network.Network() == network.Network(None, None, 30.0)
