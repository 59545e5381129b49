"""The supervisor starts fast because it imports little: this is its whole budget."""

from __future__ import annotations

import subprocess
import sys

CLIENT = {
    f"tyger.{name}"
    for name in (
        "access",
        "client",
        "errors",
        "lines",
        "pipes",
        "reading",
        "relaying",
        "sockets",
        "streams",
        "writing",
    )
}


def test_only_the_standard_library_and_the_client():
    code = "import sys, tygerd.supervisor.__main__ as m; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in run.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {name for name in loaded if name.startswith(("tyger.", "tygerd."))}
    theirs = {name for name in ours if not name.startswith("tygerd.supervisor")}
    assert theirs <= CLIENT
    # What a site-packages directory starts by itself (.pth files) is no import of ours.
    assert not loaded & {"trio", "msgspec", "h11", "sqlalchemy", "click", "yaml", "cryptography"}
