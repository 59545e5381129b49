"""For the tests of stores that try again: a patient client, and those that wait in it."""

import hashlib

import trio

from tyger import errors
from tygerd.stores import access, dataplane, retrying

EMPTY = hashlib.md5(b"").digest()


def patient(server, policy=None, *, opened=None, chance=0.0, **options):
    """Without jitter nothing waits, unless the test wants it to."""
    plane = dataplane.DataPlane(opened or access.locate(server.url()))
    return retrying.Retrying(
        plane,
        policy or retrying.Policy(first=0.25, deadline=3600),
        threads=trio.CapacityLimiter(8),
        chance=lambda: chance,
        **options,
    )


async def using(remote, work):
    """What `work` returns or raises, with the connections closed afterwards."""
    outcome = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.guard)
        try:
            outcome = await work()
        except errors.Problem as problem:
            outcome = problem
        nursery.cancel_scope.cancel()
    if isinstance(outcome, errors.Problem):
        raise outcome
    return outcome


# Threads work in real time, so what several tasks do at once is tested in real time; those who wait do so for
# an hour, unless they are woken.
HOUR = retrying.Policy(deadline=7200, first=3600, cap=3600, offline_cap=3600)


async def until(predicate):
    with trio.fail_after(60):
        while not predicate():
            await trio.lowlevel.checkpoint()


async def asleep(remote, count):
    """Until so many wait to try again."""
    await until(lambda: len(remote._sleepers) == count)
