"""Pages, parts, limits, layouts, the warning."""

import json

import pytest

from tyger.cli import listing


def item(number):
    return {"id": str(number), "createdAt": "x"}


def items(daemon, total, most=2000):
    """Answer with pages of so many items as are asked for, `most` at most."""

    def answer(request):
        query = dict(request.query)
        start, limit = int(query.get("_ct", "0")), min(int(query["limit"]), most)
        end = min(start + limit, total)
        link = f"/buffers?limit={query['limit']}&tag%5Ba%5D=b%20c&api-version=1.0&_ct={end}"
        more = {"nextLink": link} if end < total else {}
        return 200, {"items": [item(number) for number in range(start, end)]} | more, {}

    daemon.answers["GET", "/buffers"] = answer


def limits(daemon):
    return [int(dict(request.query)["limit"]) for request in daemon.requests]


def printed(done):
    return [int(each["id"]) for each in json.loads(done.out)]


def test_one_page_and_no_limit(tyger, daemon):
    items(daemon, 2)
    done = tyger("buffer", "list")
    assert daemon.requests[0].query == [("limit", str(listing.PART))]
    assert done.out.startswith('[\n    {\n      "id": "0"')
    assert done.out.endswith("    }\n  ]\n")


@pytest.mark.parametrize("total", [listing.PART, listing.PART + 1, 1001])
def test_up_to_1001_are_one_page_without_a_warning(tyger, daemon, total):
    items(daemon, total)
    done = tyger("buffer", "list")
    assert printed(done) == list(range(total))
    assert done.out.startswith('[\n    {\n      "id": "0"')
    assert done.err == ""
    assert sum(limits(daemon)) <= 1001 if total == 1001 else len(daemon.requests) <= 2


def test_more_print_1000_and_a_warning(tyger, daemon):
    items(daemon, 1002)
    done = tyger("buffer", "list")
    assert printed(done) == list(range(1000))
    assert done.out.startswith('[\n  {\n    "id": "0"')
    assert done.out.endswith("  }\n]\n")
    assert done.err == listing.TRUNCATED + "\n"
    assert sum(limits(daemon)) == 1001


def test_a_limit_follows_the_links_until_it_is_met(tyger, daemon):
    items(daemon, 10, most=2)
    done = tyger("buffer", "list", "--limit", "5", "--tag", "a=b c")
    assert printed(done) == [0, 1, 2, 3, 4]
    assert done.err == ""
    assert daemon.requests[1].query == [("limit", "3"), ("tag[a]", "b c"), ("_ct", "2")]
    assert daemon.requests[1].headers  # and one api-version, which the fake takes out


def test_a_limit_of_several_pages(tyger, daemon):
    items(daemon, 5000)
    done = tyger("buffer", "list", "--limit", "4100")
    assert printed(done) == list(range(4100))
    assert done.out.startswith('[\n  {\n    "id": "0"')
    assert done.err == ""


def test_a_list_that_ends_before_its_limit(tyger, daemon):
    items(daemon, 3)
    done = tyger("buffer", "list", "--limit", "9")
    assert printed(done) == [0, 1, 2]
    assert done.out.startswith("[\n    {\n")


def test_a_printer_gets_what_the_daemon_said(tyger, daemon):
    items(daemon, 300)
    done = tyger("buffer", "list", "--output", "yaml")
    assert done.out.startswith("- id: '0'\n") or done.out.startswith('- id: "0"\n')
    assert done.out.count("id:") == 300


def test_a_limit_of_nothing(tyger, daemon):
    items(daemon, 0)
    assert tyger("buffer", "list", "--limit", "0").out == "[]\n"


def test_an_answer_that_is_no_page(tyger, daemon):
    daemon.answers["GET", "/buffers"] = (200, {"items": 5})
    assert tyger("buffer", "list").code == 76
