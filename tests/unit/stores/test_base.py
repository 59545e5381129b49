"""Which protocol a store follows is data."""

from tygerd.stores import base, local


def test_a_store_says_what_it_is(tmp_path):
    store = local.LocalStore(str(tmp_path))
    assert base.is_embedded(store)
    assert not base.is_remote(store)
