"""JSON bodies: bytes in, a typed value out, every failure in the contract's words (rest-api.md 1.8).

msgspec does the typing. Around it: names in any letter case, trailing commas, numbers given as text, and,
where a route asks for it, normalisation (empty text, empty collections and objects of nothing count as
absent).
"""

from __future__ import annotations

import collections
import functools
import json
import re
import typing
from typing import Any

import msgspec

from tyger import errors


def check_type(content_type: str | None) -> None:
    """Refuse what is said to be no JSON; without a word it is taken for JSON.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE.
    """
    if content_type is None:
        return
    kind, _, rest = content_type.lower().partition(";")
    is_json = re.fullmatch(r"\s*(application|text)/(\S+\+)?json\s*", kind) is not None
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]*)", rest)
    if not is_json or (charset and charset[1] not in ("utf-8", "utf8", "us-ascii")):
        raise errors.Problem(
            errors.UNSUPPORTED_MEDIA_TYPE,
            f"the body is said to be {content_type[:100]}; send JSON in UTF-8, as application/json",
        )


def decode(data: bytes, kind: Any, *, normalized: bool) -> Any:
    """The value of type `kind` that `data` holds.

    Raises:
        Problem: INVALID_INPUT.
    """
    value, text = _parse(data)
    if value is None:
        raise errors.Problem(errors.INVALID_INPUT, "null is not a valid input value")
    try:
        fitted = _fit(value, kind, "$", normalized)
        if fitted is None and isinstance(value, dict):
            raise errors.Problem(errors.INVALID_INPUT, "An empty object is not a valid input value")
        made = msgspec.convert(value if fitted is None else fitted, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(_reword(str(error))) from None
    _check_twins(text)
    return made


def _refusal(detail: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, f"Error deserializing input: {detail}")


# --- JSON, a little more tolerant --------------------------------------------------------------------------

# A text, be it cut short, or a comma with nothing but blanks between it and a closing bracket. From any quote
# on it matches at once, so that a long body takes no longer than its length.
_TEXT_OR_TRAILING_COMMA = re.compile(rb'("(?:[^"\\]|\\.?)*+(?:"|\Z))|,(?=\s*[}\]])', re.DOTALL)

_BOM = b"\xef\xbb\xbf"


def _parse(data: bytes) -> tuple[object, bytes]:
    """The value, and the text that it was read from."""
    data = data.removeprefix(_BOM)
    try:
        try:
            return msgspec.json.decode(data), data
        except msgspec.DecodeError as error:
            if "trailing comma" not in str(error):
                raise
            data = _TEXT_OR_TRAILING_COMMA.sub(rb"\1", data)
            return msgspec.json.decode(data), data
    except msgspec.DecodeError as error:
        raise _refusal(str(error)) from None
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise _refusal("The JSON is not UTF-8") from None


def _check_twins(text: bytes) -> None:
    """Refuse an object with two values of one name: which one counts must not depend on who reads."""
    try:  # numbers, which may be huge, stay text
        json.loads(text, object_pairs_hook=_refuse_twins, parse_int=str, parse_float=str)
    except RecursionError:
        raise _too_deep() from None


def _refuse_twins(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        counted = collections.Counter(name for name, _ in pairs)
        raise _given_twice(counted.most_common(1)[0][0])


def _too_deep() -> errors.Problem:
    return _refusal("The JSON is nested too deeply")


def _given_twice(name: str) -> errors.Problem:
    return _refusal(f"The property '{name}' is given twice")


# --- the walk: names, unknown names, normalisation ---------------------------------------------------------


def _fit(value: object, kind: Any, path: str, normalized: bool) -> object:
    """`value` with the names that `kind` uses and, if `normalized`, without what is empty: None then.

    No deeper than `kind` has names: what is below, or is of another type, is msgspec's to refuse.
    """
    if isinstance(value, dict) and (struct := _struct_for(value, kind, path)) is not None:
        return _fit_struct(value, struct, path, normalized)
    if normalized and value in ("", [], {}):
        return None
    inner = _item_type(kind)
    if isinstance(value, dict) and _has_names(inner):
        return {name: _fit(item, inner, f"{path}.{name}", False) for name, item in value.items()}
    if isinstance(value, list):
        if inner is str:  # where Go reads it, as Docker and Kubernetes do, null among texts is an empty one
            return ["" if item is None else item for item in value]
        if _has_names(inner):
            return [_fit(item, inner, f"{path}[{i}]", False) for i, item in enumerate(value)]
    return value


def _fit_struct(
    value: dict[str, object], struct: type[msgspec.Struct], path: str, normalized: bool
) -> object:
    info = struct.__struct_config__
    known = _fields(struct)
    fitted: dict[str, object] = {}
    unknown = []
    for name, item in value.items():
        if info.tag_field is not None and name.lower() == info.tag_field:
            if info.tag_field in fitted:
                raise _given_twice(name)
            fitted[info.tag_field] = item
        elif (field := known.get(name.lower())) is None:
            unknown.append(name)
        elif field.encode_name in fitted:
            raise _given_twice(name)
        else:
            inner = _fit(item, field.type, f"{path}.{field.encode_name}", normalized)
            # A required value keeps what it is, however empty: its own rule refuses a text of nothing.
            kept = "" if item is None and field.type is str else item
            fitted[field.encode_name] = kept if inner is None and field.required else inner
    if unknown and info.forbid_unknown_fields:
        names = ", ".join(f"'{name[:100]}'" for name in unknown[:20])
        raise _refusal(f"Object contains unrecognized properties {names}. Path: {path}")
    empty = normalized and _may_be_empty(struct) and all(item is None for item in fitted.values())
    return None if empty else fitted


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a struct by their names in lower case."""
    return {field.encode_name.lower(): field for field in msgspec.structs.fields(struct)}


@functools.cache
def _may_be_empty(struct: type[msgspec.Struct]) -> bool:
    """Whether an object can hold nothing at all: a value that is never null, or a tag, always counts."""
    if struct.__struct_config__.tag is not None:
        return False
    return all(type(None) in _choices(field.type) for field in msgspec.structs.fields(struct))


def _choices(kind: Any) -> list[Any]:
    """The members of a union, or the one type."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _choices(typing.get_args(kind)[0])
    return list(typing.get_args(kind)) if _is_union(kind) else [kind]


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Union or isinstance(kind, type(int | str))


@functools.cache
def _has_names(kind: Any) -> bool:
    """Whether there is a struct in what a value of this type holds."""
    return any(
        any(_has_names(argument) for argument in typing.get_args(choice)) or bool(_structs(choice))
        for choice in _choices(kind)
    )


@functools.cache
def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    return [
        choice for choice in _choices(kind) if isinstance(choice, type) and issubclass(choice, msgspec.Struct)
    ]


def _struct_for(value: dict[str, object], kind: Any, path: str) -> type[msgspec.Struct] | None:
    """The Struct that an object is to become: the tag decides between several."""
    structs = _structs(kind)
    if len(structs) < 2:
        return structs[0] if structs else None
    field = structs[0].__struct_config__.tag_field
    tags = {struct.__struct_config__.tag: struct for struct in structs}
    given = [item for name, item in value.items() if name.lower() == field]
    if not given:
        raise _refusal(f"Missing discriminator property '{field}'. Path: {path}")
    chosen = tags.get(given[-1]) if isinstance(given[-1], str) else None
    if chosen is None:
        words = " or ".join(f"'{tag}'" for tag in tags)
        raise _refusal(f"Invalid value for the property '{field}'. It can be either {words}. Path: {path}")
    return chosen


@functools.cache
def _item_type(kind: Any) -> Any:
    """What a list or a map of this type holds."""
    for choice in _choices(kind):
        if arguments := typing.get_args(choice):
            return arguments[-1]
    return None


# --- msgspec's words ---------------------------------------------------------------------------------------

_PLACE = re.compile(r" - at `(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def _reword(message: str) -> str:
    """What msgspec says as the contract's clients know it: `<detail>. Path: $.job.codespec`."""
    place = _PLACE.search(message)
    detail, path = (message[: place.start()], place["path"]) if place else (message, "$")
    if missing := _MISSING.match(detail):
        detail = f"The object is missing required properties including: '{missing['name']}'"
    elif detail.startswith(("Expected `str | object`", "Expected `object | str`")):
        detail = "Expected string or object"
    return f"{detail}. Path: {path}"
