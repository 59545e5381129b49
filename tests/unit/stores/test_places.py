"""Where new buffers go, and how the account of an old one is found."""

import pytest

from tests.support import memorystore
from tyger import errors
from tygerd.stores import local, places


@pytest.fixture
def embedded(tmp_path):
    return local.LocalStore(str(tmp_path))


def remote(*accounts):
    return [memorystore.MemoryStore(name, location) for name, location in accounts]


def refusal(stores, location):
    with pytest.raises(errors.Problem) as caught:
        stores.choose(location)
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


def test_with_nothing_configured_everything_is_local(embedded):
    stores = places.Places(embedded)
    assert list(stores) == [embedded]
    assert stores.choose(None) is embedded
    assert stores.choose("LOCAL") is embedded
    assert refusal(stores, "westus") == "Buffer location can only be 'local."


def test_accounts_of_a_location_take_turns(embedded):
    one, two, three = accounts = remote(("one", "west"), ("two", "West"), ("three", "east"))
    stores = places.Places(embedded, accounts)
    assert list(stores) == [embedded, one, two, three]
    assert [stores.choose(None) for _ in range(3)] == [one, two, one]
    assert stores.choose("East") is three
    assert stores.choose("WEST") is two
    assert stores.choose("local") is embedded
    assert refusal(stores, "north") == "No storage accounts configured for location 'north'"
    assert refusal(stores, "") == "No storage accounts configured for location ''"


def test_the_default_can_be_chosen(embedded):
    accounts = remote(("one", "west"), ("two", "east"))
    assert places.Places(embedded, accounts, "East").choose(None) is accounts[1]
    assert places.Places(embedded, accounts, "local").choose(None) is embedded


def test_an_account_by_its_name(embedded):
    (one,) = accounts = remote(("one", "west"))
    stores = places.Places(embedded, accounts)
    assert stores.named("one") is one
    assert stores.named("local") is embedded
    with pytest.raises(errors.Problem, match="account two is not in the configuration any more") as caught:
        stores.named("two")
    assert caught.value.kind is errors.CONFIG
