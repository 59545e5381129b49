"""A refusal is an answer, and nothing else is."""

import pytest

from tygerd.api import refusals


@pytest.mark.parametrize(
    ("raised", "headers"),
    [
        (refusals.Refused(404, "BlobNotFound"), [("x-ms-error-code", "BlobNotFound")]),
        (refusals.Refused(405), []),
    ],
)
async def test_a_refusal_is_an_answer_without_a_body(raised, headers):
    @refusals.answers
    async def handler(app, request):
        raise raised

    answer = await handler(None, None)
    assert (answer.status, answer.body, list(answer.headers)) == (raised.answer.status, None, headers)


async def test_what_is_no_refusal_stays_what_it_is():
    @refusals.answers
    async def handler(app, request):
        if request is None:
            raise ValueError("a defect")
        return request

    assert await handler(None, "fine") == "fine"
    with pytest.raises(ValueError, match="a defect"):
        await handler(None, None)
