"""Buffers against a model, by hypothesis: every operation in every state, also those of what has expired."""

from __future__ import annotations

import threading

import hypothesis
import pytest
import trio
from hypothesis import stateful
from hypothesis import strategies as st

from tests.support import catalogmodel as models
from tests.support import memorystore
from tyger import errors, model, units
from tygerd import config
from tygerd.buffers import service
from tygerd.catalog import db
from tygerd.stores import places

PAST, FUTURE = "2020-01-01T00:00:00+00:00", "2150-01-02T03:04:05.678901+00:00"

some_tags = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)
expiries = st.sampled_from([None, None, PAST, FUTURE])
ttls = st.sampled_from([None, "0", "1.00:00:00"])


class Loop:
    """Trio in a thread of its own: a loop a step would take longer than the step."""

    def __init__(self):
        self.started = threading.Event()
        self.thread = threading.Thread(target=trio.run, args=(self.run,))

    async def run(self):
        self.token, self.stop = trio.lowlevel.current_trio_token(), trio.Event()
        self.started.set()
        await self.stop.wait()


LOOP = Loop()


@pytest.fixture(scope="module", autouse=True)
def loop(tmp_path_factory):
    # One catalog for all examples, because SQLAlchemy's compiled statements are an engine's.
    LOOP.catalog = db.Catalog.open(str(tmp_path_factory.mktemp("model") / "catalog"))
    LOOP.thread.start()
    assert LOOP.started.wait(10)
    yield
    LOOP.token.run_sync_soon(LOOP.stop.set)
    LOOP.thread.join()
    LOOP.catalog.close()


class Machine(stateful.RuleBasedStateMachine):
    """Steps of one daemon, in one process, whose reaper works only when a step says so."""

    buffers = stateful.Bundle("buffers")

    def __init__(self):
        super().__init__()
        self.store = memorystore.MemoryStore("local", "local", embedded=True)
        self.start_again()
        self.known: dict[str, models.Known] = {}

    def teardown(self):
        self.call(LOOP.catalog.write, lambda connection: connection.exec_driver_sql("DELETE FROM buffers"))

    def call(self, function, *arguments, **more):
        """What an operation answers, as it would over HTTP."""

        async def run():
            return await function(*arguments, **more)

        try:
            done = trio.from_thread.run(run, trio_token=LOOP.token)
        except errors.Problem as problem:
            return models.Answer(problem.kind.status, None)
        return models.Answer(200, wire(done) if isinstance(done, model.Buffer) else done)

    def act(self, known, op, function, *arguments, **more):
        known.follow(op, self.call(function, known.id, *arguments, **more))

    # --- steps -------------------------------------------------------------------------------------------

    @stateful.rule(target=buffers, tags=some_tags, expires=expiries)
    def create(self, tags, expires):
        body = self.call(self.service.create, model.Buffer(tags=tags or None, expires_at=expires), 0).body
        state = models.Buffer(tuple(sorted(tags.items())), expires=expires, expired=expires == PAST)
        known = self.known[body["id"]] = models.Known(body["id"], {state})
        known.reaping = False
        known.follow(models.Op("show"), models.Answer(200, body))
        return known

    @stateful.rule(known=buffers, soft=st.booleans())
    def show(self, known, soft):
        self.act(known, models.Op("show", soft), self.service.get, soft_deleted=soft)

    @stateful.rule(
        known=buffers,
        soft=st.booleans(),
        tags=some_tags,
        expires=expiries,
        etag=st.sampled_from([None, "", "*", "current", "1234"]),
    )
    def set(self, known, soft, tags, expires, etag):
        etag = known.etag if etag == "current" else etag
        op = models.Op(
            "set", soft, tuple(sorted(tags.items())), etag or None, expires=expires, past=expires == PAST
        )
        change = model.BufferUpdate(tags=tags, expires_at=expires)
        self.act(known, op, self.service.update, change, soft_deleted=soft, if_match=etag)

    @stateful.rule(known=buffers, kind=st.sampled_from(["delete", "restore", "purge"]), ttl=ttls)
    def move(self, known, kind, ttl):
        ttl = None if kind == "restore" else ttl
        op = models.Op(kind, ttl=ttl, past=ttl == "0")
        span = None if ttl is None else units.parse_timespan(ttl)
        answer = self.call(self.service.move, kind, known.id, span)
        known.follow(op, answer)

    @stateful.rule(
        kind=st.sampled_from(["delete", "restore", "purge"]), tags=some_tags, exclude=some_tags, ttl=ttls
    )
    def move_all(self, kind, tags, exclude, ttl):
        ttl = None if kind == "restore" else ttl
        span = None if ttl is None else units.parse_timespan(ttl)
        chosen = [
            known
            for known in self.known.values()
            for state in known.states
            if fits(state, tags, exclude) and not state.expired and state.deleted == (kind != "delete")
        ]
        answer = self.call(self.service.move_all, kind, service.Filter(tags, exclude), span)
        assert answer.body == len(chosen)
        for known in chosen:
            (state,) = known.states
            op = models.Op(kind, ttl=ttl, past=ttl == "0")
            ((_, following),) = models.possible(state, op, None)
            known.states, known.etag = {following}, None
            self.look_at(known)

    @stateful.rule()
    def reap(self):
        self.call(self.service._reaper.work)
        for known in self.known.values():
            before, known.states = known.states, {models.reaped(state) for state in known.states}
            if known.states != before:
                self.look_at(known)
        assert self.store.names == {known.id for known in self.known.values() if not is_gone(known)}

    @stateful.rule(soft=st.booleans(), tags=some_tags, exclude=some_tags, limit=st.sampled_from([1, 2, 50]))
    def look_at_a_list(self, soft, tags, exclude, limit):
        wanted = [
            known.id
            for known in self.known.values()
            for state in known.states
            if fits(state, tags, exclude) and state.deleted == soft
        ]
        found, after = [], None
        while True:
            page = self.call(
                self.service.page,
                limit=limit,
                soft_deleted=soft,
                chosen=service.Filter(tags, exclude),
                after=after,
            ).body
            found += [(each.created_at, each.id) for each in page.items]
            for each in page.items:
                self.known[each.id].follow(models.Op("show", soft), models.Answer(200, wire(each)))
            if (after := page.last) is None:
                break
        keys = [(units.parse_timestamp(moment), buffer_id) for moment, buffer_id in found]
        assert keys == sorted(keys, reverse=True)
        assert sorted(buffer_id for _, buffer_id in found) == sorted(wanted)

    @stateful.rule(soft=st.sampled_from([None, True, False]), tags=some_tags, exclude=some_tags)
    def count(self, soft, tags, exclude):
        wanted = [
            known
            for known in self.known.values()
            for state in known.states
            if fits(state, tags, exclude) and not state.expired and soft in (None, state.deleted)
        ]
        found = self.call(self.service.count, soft_deleted=soft, chosen=service.Filter(tags, exclude))
        assert found.body == len(wanted)

    @stateful.rule()
    def start_again(self):
        """The next daemon: nothing of this one's memory."""
        self.service = service.Buffers(LOOP.catalog, places.Places(self.store), config.Buffers())

    def look_at(self, known):
        for soft in (False, True):
            self.act(known, models.Op("show", soft), self.service.get, soft_deleted=soft)


def fits(state, tags, exclude):
    carried = dict(state.tags).items()
    return not state.gone and tags.items() <= carried and not exclude.items() & carried


def is_gone(known):
    (state,) = known.states
    return state.gone


def wire(buffer):
    """A buffer as the API shows it, with an ETag that is what it must be."""
    millis = (
        0 if buffer.expires_at is None else units.to_micros(units.parse_timestamp(buffer.expires_at)) // 1000
    )
    body = {
        "id": buffer.id,
        "isSoftDeleted": buffer.is_soft_deleted,
        "expiresAt": buffer.expires_at,
        "tags": buffer.tags,
        "eTag": buffer.e_tag,
    }
    assert buffer.e_tag == models.buffer_etag(
        buffer.id, deleted=buffer.is_soft_deleted, millis=millis, tags=(buffer.tags or {}).items()
    )
    return body


Machine.TestCase.settings = hypothesis.settings(
    max_examples=50, stateful_step_count=30, deadline=None, derandomize=True
)
TestBuffers = Machine.TestCase
