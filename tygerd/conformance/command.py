"""`tygerd check-store`: the conformance suite against the storage accounts of a configuration.

For an operator who wants to know, before buffers depend on it, whether an account does what is needed and the
daemon's identity may do it. It works with containers of its own, and removes them whatever happens.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

import trio

from tyger import errors, paths
from tygerd import config
from tygerd.conformance import containers, remote, store
from tygerd.stores import azure, base, network

FAILED = 1
"""Exit code when a check failed."""

CLEANING_UP = 60
"""Seconds for removing what was made."""


def parser() -> argparse.ArgumentParser:
    """The arguments; the man page is made from it too."""
    made = argparse.ArgumentParser(
        "tygerd check-store",
        description="Check that the storage accounts of the configuration do what buffers need, with"
        " containers of its own that are removed again. Prints a line for each check, and exits with 1 when"
        " one has failed.",
    )
    made.add_argument("--config", metavar="FILE", help="configuration, see tygerd.toml(5)")
    made.add_argument("--account", metavar="NAME", help="check this account only, not every one")
    made.add_argument(
        "--system", action="store_true", help="use the system's configuration instead of the user's"
    )
    return made


def main(argv: list[str]) -> int:
    """Check the accounts, print a line for each check; the exit code: 0 when all is well."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as ended:
        return errors.USAGE.exit_code if ended.code else 0
    try:
        where = paths.locate(os.environ, system=options.system, config=options.config)
        settings = config.load(where.config, required=options.config is not None)
        chosen = _chosen(settings, where.config, options.account)
        networking = network.settings(
            os.environ, proxy=settings.transfer.proxy, ca_file=settings.transfer.ca_file
        )
        stores = [found for found in azure.stores(settings, networking) if found.traits.name in chosen]
        return trio.run(_run, stores, networking)
    except errors.Problem as problem:
        sys.stderr.write(f"tygerd: {problem}\n")
        return problem.exit_code


def _chosen(settings: config.Config, path: str, account: str | None) -> list[str]:
    names = [found.name for found in settings.store.azure]
    if not names:
        raise errors.Problem(
            errors.CONFIG, f"{path} has no storage account; add one with [[store.azure]], see tygerd.toml(5)"
        )
    if account is None:
        return names
    if account not in names:
        raise errors.Problem(
            errors.CONFIG, f"{path} has no storage account {account}; there are {', '.join(names)}"
        )
    return [account]


async def _run(stores: list[azure.AzureStore], networking: network.Network) -> int:
    """All accounts, one after the other; a signal ends it once what was made is removed."""
    code = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                nonlocal code
                async for number in signals:
                    code = 128 + number
                    nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            for one in stores:
                try:
                    code = max(code, await check(one, networking, _say))
                except errors.Problem as problem:
                    code = max(code, problem.exit_code)
                    sys.stderr.write(f"tygerd: {problem}\n")
            nursery.cancel_scope.cancel()
    return code


def _say(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


async def check(one: base.RemoteStore, networking: network.Network, say: Callable[[str], object]) -> int:
    """Check one account; `say` gets the lines. The exit code.

    Raises:
        Problem: it cannot be used at all, so that no check says more.
    """
    bench = remote.Bench(one, networking)
    failures = count = 0
    try:
        await bench.new()
        for name, run in _checks(bench):
            count += 1
            failures += not await _succeeds(name, run, say)
    finally:
        await _clean_up(bench, one, say if count else _silence)
    words = f"{failures} of {count} checks FAILED" if failures else f"all {count} checks are ok"
    say(f"{one.traits.name} ({one.traits.location}, {one.traits.endpoint}): {words}\n")
    return FAILED if failures else 0


def _silence(_line: str) -> None:
    """Where nothing could be made there is nothing to say about what is left."""


def _checks(bench: remote.Bench) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    for name, general in containers.CHECKS.items():
        yield name, functools.partial(general, bench.store)
    for name, plane in store.CHECKS.items():
        yield name, functools.partial(plane, bench)
    for name, access in store.ACCESS_CHECKS.items():
        yield name, functools.partial(access, bench)
    for name, special in remote.CHECKS.items():
        yield name, functools.partial(special, bench)


async def _succeeds(name: str, run: Callable[[], Awaitable[None]], say: Callable[[str], object]) -> bool:
    words = name.replace("_", " ")
    try:
        await run()
    except (AssertionError, errors.Problem) as failure:
        say(f"FAILED  {words}: {failure}\n")
        return False
    except BaseExceptionGroup as group:  # of checks that do several things at once
        failures, others = group.split((AssertionError, errors.Problem))
        if others is not None or failures is None:
            raise
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        say(f"FAILED  {words}: {first}\n")
        return False
    say(f"ok      {words}\n")
    return True


async def _clean_up(bench: remote.Bench, one: base.RemoteStore, say: Callable[[str], object]) -> None:
    with trio.CancelScope(deadline=trio.current_time() + CLEANING_UP, shield=True):
        try:
            await bench.remove()
        except errors.Problem as problem:
            say(f"not removed from {one.traits.name}: {', '.join(bench.left)}: {problem}\n")
        await one.close()
