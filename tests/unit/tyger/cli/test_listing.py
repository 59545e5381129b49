"""Pages, limits, layouts, the warning."""

from tyger.cli import listing


def item(number):
    return {"id": str(number), "createdAt": "x"}


def pages(daemon, *sizes):
    """Answer with pages of so many items."""
    state = {"page": 0, "number": 0}

    def answer(request):
        size = sizes[state["page"]]
        items = [item(state["number"] + index) for index in range(size)]
        state["page"] += 1
        state["number"] += size
        more = state["page"] < len(sizes)
        link = f"/buffers?limit=5&tag%5Ba%5D=b%20c&api-version=1.0&_ct=p{state['page']}"
        return 200, {"items": items} | ({"nextLink": link} if more else {}), {}

    daemon.answers["GET", "/buffers"] = answer


def test_one_page_and_no_limit(tyger, daemon):
    pages(daemon, 2)
    done = tyger("buffer", "list")
    assert daemon.requests[0].query == [("limit", "1001")]
    assert done.out.startswith('[\n    {\n      "id": "0"')
    assert done.out.endswith("    }\n  ]\n")


def test_exactly_1001_are_all_printed_without_a_warning(tyger, daemon):
    pages(daemon, 1001)
    done = tyger("buffer", "list")
    assert done.out.count('"id"') == 1001
    assert done.err == ""


def test_more_print_1000_and_a_warning(tyger, daemon):
    pages(daemon, 1001, 1)
    done = tyger("buffer", "list")
    assert done.out.count('"id"') == 1000
    assert done.out.startswith('[\n  {\n    "id": "0"')
    assert done.out.endswith("  }\n]\n")
    assert done.err == listing.TRUNCATED + "\n"
    assert len(daemon.requests) == 1


def test_a_limit_follows_the_links_until_it_is_met(tyger, daemon):
    pages(daemon, 2, 2, 2)
    done = tyger("buffer", "list", "--limit", "5", "--tag", "a=b c")
    assert done.out.count('"id"') == 5
    assert done.err == ""
    assert daemon.requests[1].query == [("limit", "5"), ("tag[a]", "b c"), ("_ct", "p1")]
    assert daemon.requests[1].headers  # and one api-version, which the fake takes out


def test_a_list_that_ends_before_its_limit(tyger, daemon):
    pages(daemon, 2, 1)
    assert tyger("buffer", "list", "--limit", "9").out.count('"id"') == 3


def test_a_limit_of_nothing(tyger, daemon):
    pages(daemon, 0)
    assert tyger("buffer", "list", "--limit", "0").out == "[]\n"


def test_an_answer_that_is_no_page(tyger, daemon):
    daemon.answers["GET", "/buffers"] = (200, {"items": 5})
    assert tyger("buffer", "list").code == 76
