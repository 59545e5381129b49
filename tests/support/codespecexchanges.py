"""For the compatibility tests of codespecs: what is asked and answered in several of them."""

import json

from tests.support.answers import answer, ask

V = "api-version=1.0"


def put(name, body):
    return ask("PUT", f"/codespecs/{name}?{V}", body)


def get(target):
    return ask("GET", f"/codespecs{target}{'&' if '?' in target else '?'}{V}")


def made(name, version, body, status=None, location=True):
    """The answer that has this version, its moment remembered by it."""
    kind = f'{{"kind":"{body["kind"]}"'
    shown = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    moment = f'"createdAt":"[[made{version}:time]]"'
    return answer(
        status or ("201 Created" if version == 1 else "200 OK"),
        shown.replace(kind, f'{kind},"name":"{name}","version":{version},{moment}', 1),
        *([f"Location: /codespecs/{name}/{version}"] if location else []),
    )


def job(**fields):
    return {"kind": "job", "image": "i", **fields}


def listed(items, link=None):
    shown = ",".join(
        f'{{"kind":"job","name":"{name}","version":{version},"createdAt":"[[:time]]","image":"i"[[:any]]}}'
        for name, version in items
    )
    rest = f',"nextLink":"{link}"' if link else ""
    return answer("200 OK", f'{{"items":[{shown}]{rest}}}')


PUT = answer("[[status:number]] [[:text]]", "[[:any]]", "Location: /codespecs/[[:text]]/[[version:number]]")
"""What is told to whoever puts a codespec, in some version."""
