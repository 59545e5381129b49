"""What all tests share: a Podman, the closing summary of what was skipped, and a collection in half the time.

Hypothesis makes the same examples in each run, and minds no time; `--hypothesis-profile=search` makes others.

A test module that was skipped as a whole usually means that the machine lacks something (ffmpeg,
bubblewrap). Such a run must not look like a complete one, so these modules stand in the last lines.
"""

from __future__ import annotations

import gc
import pathlib
from collections import defaultdict
from collections.abc import Generator, Iterator

import hypothesis
import pytest
import trio

from tests.support import daemon
from tests.support import podman as podman_support
from tygerd import enginesettings
from tygerd.engines.container import link

hypothesis.settings.register_profile(
    "search", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile(
    "tests", hypothesis.settings.get_profile("search"), derandomize=True, database=None
)
hypothesis.settings.load_profile("tests")  # a test's result is that of its code, not of chance or of the load


@pytest.fixture(scope="session")
def podman() -> Iterator[podman_support.Podman]:
    """A Podman for all tests of this process: whoever stops its service takes one of `podman.service()`."""
    with podman_support.service() as engine:
        yield engine


@pytest.fixture(scope="session")
def known_podman(podman: podman_support.Podman, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What a daemon that has used `podman` keeps in its state; the next one is a second faster then."""
    state = tmp_path_factory.mktemp("known")
    (state / "runs").mkdir()

    async def find_out() -> None:
        settings = enginesettings.Container(socket=podman.socket)
        known = link.Link(str(state), str(state / "runs"), settings, installation="0" * 32, environ={})
        await known.get()
        await known.close()

    trio.run(find_out)
    return state / "container-engine.json"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, show what Podman's service has written: it is all that is left of one elsewhere."""
    report = yield
    engine = getattr(item, "funcargs", {}).get("podman")
    if report.failed and isinstance(engine, podman_support.Podman):
        report.sections.append(("Podman's log", "\n".join(engine.log.splitlines()[-daemon.SHOWN :])))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let nobody look for garbage among thousands of tests that stay, neither now nor while they run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every test module of which no test ran, with the reasons that its skips gave."""
    ran: set[str] = set()
    skipped: dict[str, list[str]] = defaultdict(list)
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if not isinstance(report, pytest.TestReport | pytest.CollectReport):
                continue
            module = report.nodeid.split("::")[0]
            if outcome == "skipped":
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
                skipped[module].append(reason.removeprefix("Skipped: "))
            elif outcome in {"passed", "failed", "error", "xfailed", "xpassed"}:
                ran.add(module)
    whole = {module: reasons for module, reasons in skipped.items() if module not in ran}
    if whole:
        terminalreporter.section("NOT TESTED HERE", red=True, bold=True)
        for module, reasons in sorted(whole.items()):
            terminalreporter.line(f"{module}: {len(reasons)} skipped: {'; '.join(sorted(set(reasons)))}")
