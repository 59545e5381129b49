import pytest

from tyger import errors, model
from tygerd.copying import orders
from tygerd.stores import local, places


def refused(work, *arguments):
    with pytest.raises(errors.Problem) as caught:
        work(*arguments)
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


def wanted(endpoint="http://second", source=None, **more):
    return model.ExportBuffersRequest(
        destination_storage_endpoint=endpoint, source_storage_account_name=source, **more
    )


@pytest.mark.parametrize("endpoint", ["http://second/", "http://second", "HTTP://Second"])
def test_an_export(shop, endpoint):
    order = orders.export(wanted(endpoint, "First", filters={"a": "b"}, hash_ids=True), shop.stores)
    assert order == ("first", "second", {"a": "b"}, True)
    assert orders.read(orders.codespec(order)) == order


def test_any_text_as_a_filter(shop):
    filters = {"a=b": "c=d", "": "", "--source-storage-account": "-x y", "%41": "%41", "\n": "ü\n"}
    order = orders.export(wanted(source="first", filters=filters), shop.stores)
    assert orders.read(orders.codespec(order)).filters == filters


def test_the_embedded_store_is_a_source(shop):
    assert orders.export(wanted(source="local"), shop.stores).source == "local"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (wanted(None), "Destination storage endpoint is required."),
        (
            wanted(),
            "A source storage account name is required when multiple storage accounts are configured.",
        ),
        (wanted(source="x"), "Source storage account 'x' not found."),
        (
            wanted(source="first", filters={str(number): "" for number in range(201)}),
            "no more than 200 filters may be given",
        ),
        (wanted("http://first", "first"), "The destination is the storage account 'first' itself."),
    ],
)
def test_what_is_refused_in_the_contracts_words(shop, request_, message):
    assert refused(orders.export, request_, shop.stores) == message


def test_a_destination_that_is_not_configured_is_named_without_its_key(shop):
    message = refused(orders.export, wanted("http://third/?sig=secret", "first"), shop.stores)
    assert "'http://third/' is not that of a configured storage account" in message
    assert "secret" not in message


def test_with_one_account_no_source_need_be_named(shop):
    alone = places.Places(shop.stores.embedded, [shop.source])
    assert "itself" in refused(orders.export, wanted("http://first"), alone)


def test_an_import(shop):
    order = orders.import_(model.ImportBuffersRequest("SECOND"), shop.stores, 7)
    assert order == ("second", 7)
    assert orders.read(orders.codespec(order)) == order


@pytest.mark.parametrize("name", ["x", "local"])
def test_an_import_from_nowhere(shop, name):
    message = refused(orders.import_, model.ImportBuffersRequest(name), shop.stores, 0)
    assert message == f"Storage account '{name}' not found."


def test_with_the_embedded_store_alone(tmp_path):
    alone = places.Places(local.LocalStore(str(tmp_path)))
    assert refused(orders.export, wanted(), alone) == "Exporting buffers is not supported with local storage."
    message = refused(orders.import_, model.ImportBuffersRequest("x"), alone, 0)
    assert message == "Importing buffers is not supported with local storage."


@pytest.mark.parametrize("args", [[], ["export"], ["dance"], ["import", "--storage-account=a", "b"]])
def test_a_codespec_that_is_no_order(args):
    assert "no order to copy buffers" in refused(orders.read, model.JobCodespec(image="tygerd", args=args))
