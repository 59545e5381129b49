import pytest

from tyger import errors
from tygerd.buffers import tags


@pytest.mark.parametrize(
    "good",
    [{}, {"a": ""}, {"aZ0-9_.": "x-._"}, {"k" * 128: "v" * 256}, {str(n): "" for n in range(100)}],
)
def test_good(good):
    tags.check(good)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({str(n): "" for n in range(101)}, "No more than 100 tags"),
        ({"": "v"}, "Tag keys must contain"),
        ({"k" * 129: "v"}, "Tag keys must contain"),
        ({"a b": "v"}, "Tag keys must contain"),
        ({"é": "v"}, "Tag keys must contain"),
        ({"a\n": "v"}, "Tag keys must contain"),
        ({"a": "v" * 257}, "Tag values can contain"),
        ({"a": "b/c"}, "Tag values can contain"),
        ({"a": "b\n"}, "Tag values can contain"),
    ],
)
def test_bad(bad, words):
    with pytest.raises(errors.Problem, match=words) as caught:
        tags.check(bad)
    assert caught.value.kind is errors.INVALID_INPUT


def test_an_absurd_number():
    tags.check_amount(None)
    tags.check_amount({f"k{i}": "" for i in range(1000)})
    with pytest.raises(errors.Problem, match="No more than 1000 tags can be set"):
        tags.check_amount({f"k{i}": "" for i in range(1001)})
