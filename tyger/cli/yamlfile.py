"""Codespec and run files: YAML 1.1 against a table of fields, with the field and the line of what is wrong.

The rules are the contract's (cli.md 5.2): duplicate and unknown keys are errors, a key's letter case may
differ, scalars become text where text is expected. The tables of the two files stand in `specs`. Every
failure is a `Problem` of one line, `failed to parse file x.yml: line 7: job.codespec: unknown field "a"`.
PyYAML is imported only when a file is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from tyger import errors

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes: far above any codespec, far below what would hurt."""

DEEPEST = 32
"""How deep records, lists and maps may be nested; a file that refers to itself ends here."""

_TAG = "tag:yaml.org,2002:"


class Place(NamedTuple):
    """Where in which file we are."""

    file: str
    kind: str
    field: str = ""
    depth: int = 0

    def within(self, name: str) -> Place:
        """The place of a field or an element inside this one."""
        joined = name if not self.field or name.startswith("[") else "." + name
        return self._replace(field=self.field + joined, depth=self.depth + 1)

    def refuse(self, node: Any, why: str) -> NoReturn:
        """Raise the problem `why` at `node`."""
        text = f"{self.field}: {why}" if self.field else why
        if not text.isprintable():  # a value of several lines, say: the message is one line
            text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"failed to parse {self.kind} {self.file}: line {node.start_mark.line + 1}: {text}",
        )


Shape = Callable[[Any, Place], Any]
"""Makes a value of a YAML node, or refuses it."""


def read(path: str, kind: str, shape: Shape, *, dash: bool = False) -> dict[str, Any]:
    """The mapping in the file at `path`; `kind` is what a person calls it. An empty file is an empty mapping.

    With `dash`, `-` is standard input.

    Raises:
        Problem: NOT_FOUND, FORBIDDEN or IO_ERROR when it cannot be read, INVALID_INPUT when it says nonsense.
    """
    import yaml

    place = Place(path, kind)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = _text(path, kind, dash=dash)
    try:
        _refuse_depth(yaml.parse(content, Loader=loader), place)
        root = yaml.compose(content, Loader=loader)
    except yaml.reader.ReaderError:
        # It knows no line.
        odd = yaml.reader.Reader.NON_PRINTABLE.search(content)
        where = f"line {content.count(chr(10), 0, odd.start()) + 1}: " if odd else ""
        raise errors.Problem(
            errors.INVALID_INPUT, f"failed to parse {kind} {path}: {where}control characters are not allowed"
        ) from None
    except yaml.YAMLError as error:
        raise errors.Problem(
            errors.INVALID_INPUT, f"failed to parse {kind} {path}: {_complaint(error)}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise errors.Problem(errors.INVALID_INPUT, f"failed to parse {kind} {path}: {error}") from None
    if root is None or _is_null(root):
        return {}
    value: dict[str, Any] = shape(root, place)
    return value


def _refuse_depth(events: Iterable[Any], place: Place) -> None:
    """Refuse a deep file before it is composed: that recurses in C, and would end us by SIGSEGV."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent")
        depth -= kind.endswith("EndEvent")
        if depth > 4 * DEEPEST:  # here the nodes inside are counted too; the shapes count exactly
            place.refuse(event, "nested too deep")


def _text(path: str, kind: str, *, dash: bool) -> str:
    stdin = dash and path == "-"
    try:
        with open(0 if stdin else path, "rb", closefd=not stdin) as file:
            if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
                raise IsADirectoryError(21, "Is a directory")
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        kinds = {FileNotFoundError: errors.NOT_FOUND, PermissionError: errors.FORBIDDEN}
        raise errors.Problem(
            kinds.get(type(error), errors.IO_ERROR), f"failed to read {kind} {path}: {error.strerror}"
        ) from None
    except ValueError:
        raise errors.Problem(
            errors.INVALID_INPUT, f"failed to read {kind}: its name has a null byte"
        ) from None
    if len(data) > LARGEST_FILE:
        raise errors.Problem(errors.INVALID_INPUT, f"failed to read {kind} {path}: it is longer than 4 MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise errors.Problem(
            errors.INVALID_INPUT, f"failed to parse {kind} {path}: line {line}: it is not UTF-8 text"
        ) from None


def _complaint(error: Any) -> str:
    """PyYAML's several lines as one."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not YAML"
    context = getattr(error, "context", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    if "nesting depth" in said:  # libyaml's own limit, in some versions, may come before ours
        return f"{where}nested too deep"
    return f"{where}{said}" + (f" ({context})" if context else "")


# --- shapes ----------------------------------------------------------------------------------------------


def text(node: Any, place: Place) -> str:
    """Text; numbers and truth values are converted as the contract has it, null is empty."""
    tag = _scalar_tag(node, place, "text")
    if tag == "null":
        return ""
    if tag == "bool":
        return "true" if _truth(node) else "false"
    if tag == "int":
        return str(_whole(node, place))
    if tag == "float":
        return _go_float(node.value)
    return str(node.value)


def strict_text(node: Any, place: Place) -> str:
    """Text, and nothing that only looks like it."""
    tag = _scalar_tag(node, place, "text")
    if tag != "str":
        place.refuse(node, f"expected text, found {_name(tag)}; put it in quotes")
    return str(node.value)


def integer(node: Any, place: Place) -> int:
    """A whole number, not in quotes."""
    tag = _scalar_tag(node, place, "a whole number")
    if tag != "int":
        quoted = " in quotes" if tag == "str" and node.style in ("'", '"') else ""
        place.refuse(node, f"expected a whole number, found {_name(tag)}{quoted}")
    return _whole(node, place)


def truth(node: Any, place: Place) -> bool:
    """A truth value."""
    if _scalar_tag(node, place, "true or false") != "bool":
        place.refuse(node, f"expected true or false, found {_found(node)}")
    return _truth(node)


def quantity(node: Any, place: Place) -> str:
    """A Kubernetes quantity, as number or text; the daemon checks it."""
    if _scalar_tag(node, place, "a quantity") in ("bool", "null"):
        place.refuse(node, "expected a quantity such as 500m, 2 or 4Gi")
    return text(node, place)


def ignored(node: Any, place: Place) -> None:
    """A field that only the daemon writes: whatever it holds."""


def choice(*choices: str) -> Shape:
    """One of these words."""

    def shape(node: Any, place: Place) -> str:
        value = text(node, place)
        if value not in choices:
            place.refuse(node, f"expected {' or '.join(choices)}, found '{value}'")
        return value

    return shape


def list_of(item: Shape) -> Shape:
    """A list."""

    def shape(node: Any, place: Place) -> list[Any]:
        if node.id != "sequence":
            place.refuse(node, f"expected a list, found {_found(node)}")
        return [item(element, _deeper(node, place, f"[{index}]")) for index, element in enumerate(node.value)]

    return shape


def map_of(value: Shape) -> Shape:
    """A map with keys of any name."""

    def shape(node: Any, place: Place) -> dict[str, Any]:
        return {
            text(key, place): value(content, _deeper(node, place, str(key.value)))
            for key, content in _pairs(node, place)
        }

    return shape


def record(shapes: Mapping[str, Shape]) -> Shape:
    """A mapping with these fields only. Nulls and fields of the daemon's are left out of the result."""

    def shape(node: Any, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, content in _pairs(node, place):
            name = _field_name(key, shapes, place)
            inside = _deeper(node, place, name)
            if name in lines:
                inside.refuse(key, f"duplicate field, first on line {lines[name]}")
            lines[name] = key.start_mark.line + 1
            if not _is_null(content) and shapes[name] is not ignored:
                result[name] = shapes[name](content, inside)
        return result

    return shape


def known(shapes: Mapping[str, Shape]) -> Shape:
    """A mapping of which these fields are read, and whatever else is in it is ignored."""
    folded = {name.lower(): name for name in shapes}

    def shape(node: Any, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, content in _pairs(node, place):
            name = folded.get(str(key.value).lower())
            if name is None or _is_null(content):
                continue
            inside = _deeper(node, place, name)
            if name in result:
                inside.refuse(key, "duplicate field")
            result[name] = shapes[name](content, inside)
        return result

    return shape


def text_or(other: Shape) -> Shape:
    """Text where there is a scalar, else `other`."""

    def shape(node: Any, place: Place) -> Any:
        return strict_text(node, place) if node.id == "scalar" else other(node, place)

    return shape


# --- nodes -----------------------------------------------------------------------------------------------


def _deeper(node: Any, place: Place, name: str) -> Place:
    if place.depth >= DEEPEST:
        place.refuse(node, "nested too deep")
    return place.within(name)


def _field_name(key: Any, shapes: Mapping[str, Shape], place: Place) -> str:
    """The field that a key means; its letter case may differ."""
    typed = str(key.value)
    folded = {name.lower(): name for name in shapes}
    name = typed if typed in shapes else folded.get(typed.lower())
    if name is None:
        import difflib

        near = difflib.get_close_matches(typed, shapes, n=1)
        suggestion = f" (did you mean {near[0]}?)" if near else ""
        place.refuse(key, f'unknown field "{typed}"{suggestion}')
    return name


def _pairs(node: Any, place: Place) -> list[tuple[Any, Any]]:
    """The keys and values of a mapping: own keys are unique, those merged in (`<<`) yield to them."""
    if node.id != "mapping":
        place.refuse(node, f"expected a mapping, found {_found(node)}")
    if place.depth >= DEEPEST:
        place.refuse(node, "nested too deep")
    own: dict[str, tuple[Any, Any]] = {}
    merged: dict[str, tuple[Any, Any]] = {}
    for key, content in node.value:
        if key.tag == _TAG + "merge":
            for pair in _merged_pairs(content, place._replace(depth=place.depth + 1)):
                merged.setdefault(str(pair[0].value), pair)
            continue
        if key.id != "scalar":
            place.refuse(key, "a key must be a word")
        name = str(key.value)
        if name in own:
            first = own[name][0].start_mark.line + 1
            place.within(name).refuse(key, f"duplicate key, first on line {first}")
        own[name] = (key, content)
    return list({**merged, **own}.values())


def _merged_pairs(node: Any, place: Place) -> list[tuple[Any, Any]]:
    nodes = node.value if node.id == "sequence" else [node]
    return [pair for each in nodes for pair in _pairs(each, place)]


def _scalar_tag(node: Any, place: Place, expected: str) -> str:
    """What a scalar is by YAML 1.1: str, int, float, bool or null.

    Dates and base-60 numbers (`12:30`) count as text, as in the original's parser.
    """
    if node.id != "scalar":
        place.refuse(node, f"expected {expected}, found {_found(node)}")
    tag = node.tag.removeprefix(_TAG)
    if tag in ("timestamp", "value", "merge") or (tag in ("int", "float") and ":" in node.value):
        return "str"
    if tag not in ("str", "int", "float", "bool", "null"):
        place.refuse(node, f"expected {expected}, found the unknown tag {node.tag}")
    return str(tag)


def _is_null(node: Any) -> bool:
    return bool(node.id == "scalar" and node.tag == _TAG + "null")


def _truth(node: Any) -> bool:
    return str(node.value).lower() in ("yes", "true", "on")


def _whole(node: Any, place: Place) -> int:
    digits = node.value.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    try:
        if digits.startswith(("0b", "0x")):
            return sign * int(digits, 0)
        return sign * int(digits, 8 if digits.startswith("0") and digits != "0" else 10)
    except ValueError:
        place.refuse(node, f"'{node.value}' is not a whole number")


def _go_float(written: str) -> str:
    """A float as Go prints it: the shortest digits, without an exponent below 1e21."""
    try:
        value = float(written.replace("_", ""))
    except ValueError:
        return written  # .inf and .nan
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return repr(value)


def _name(tag: str) -> str:
    names = {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "a truth value",
        "null": "nothing",
    }
    return names[tag]


def _found(node: Any) -> str:
    if node.id == "scalar":
        return "nothing" if _is_null(node) else f"'{node.value}'" if len(node.value) <= 40 else "text"
    return "a list" if node.id == "sequence" else "a mapping"
