import pytest

from tygerd.catalog import pages


async def collect(sizes, limit, after=None):
    """Rows are their own places; what was read is told, too."""
    asked = []

    async def read(count, place):
        asked.append(count)
        start = 0 if place is None else place + 1
        return list(range(start, len(sizes)))[:count]

    found = await pages.collect(
        read, limit=limit, after=after, place=lambda row: row, size=lambda row: sizes[row]
    )
    return *found, asked


@pytest.mark.parametrize(
    ("count", "limit", "more"),
    [
        (0, 5, False),
        (0, 0, False),
        (3, 0, True),
        (3, 2, True),
        (3, 3, False),
        (3, 4, False),
        (600, 599, True),
    ],
)
async def test_a_page_has_as_many_rows_as_it_may(count, limit, more):
    rows, follows, _ = await collect([1] * count, limit)
    assert (rows, follows) == (list(range(min(count, limit))), more)


async def test_it_begins_behind_a_place():
    assert (await collect([1] * 5, 2, after=1))[:2] == ([2, 3], True)


async def test_an_ordinary_page_is_read_at_once():
    assert (await collect([1000] * 999, 200))[2] == [201]


@pytest.mark.parametrize("large", [pages.MOST_BYTES // 10, pages.MOST_BYTES, 10 * pages.MOST_BYTES])
async def test_a_page_of_large_rows_is_shorter(large):
    sizes, found, after = [large] * 25, [], None
    while True:
        rows, more, asked = await collect(sizes, 2000, after)
        assert rows
        assert sum(sizes[row] for row in rows) <= max(pages.MOST_BYTES, large)
        assert asked == [pages.SLICE]
        found += rows
        after = rows[-1]
        if not more:
            break
    assert found == list(range(25))
