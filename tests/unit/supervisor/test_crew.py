"""When workers and replicas start, and what the end of each means, with programs that do as they are told."""

from __future__ import annotations

import pytest

from tyger import errors
from tygerd.supervisor import crew, ending, log, mains, spec


class Puppet(mains.Main):
    """Does what the test says; notes what it is asked to do."""

    def __init__(self, setup, *, broken=False):
        super().__init__(setup, log.Stamps())
        self.asked = []
        self._broken = broken

    def start(self):
        if self._broken:
            raise errors.Problem(errors.IO_ERROR, f"cannot start {self.name}")
        self.asked.append("start")

    def run(self, address=None):
        self.address = address
        self.started_at = 5

    def end(self, code=None, reason=None):
        self.code, self.reason, self.ended = code, reason, True

    def terminate(self):
        self.asked.append("terminate")

    def kill(self):
        self.asked.append("kill")

    def close(self):
        self.asked.append("close")


@pytest.fixture
def end():
    made = ending.Ending()
    yield made
    made.close()


@pytest.fixture
def team(end, monkeypatch):
    """Makes a crew of puppets: `team(2, 1)` has two replicas and one worker."""

    def make(replicas, workers=0, broken=()):
        monkeypatch.setattr(mains, "make", lambda setup, *_: Puppet(setup, broken=setup.name in broken))
        names = [f"job-{number}" for number in range(replicas)] if replicas > 1 else ["main"]
        return crew.Crew(
            spec.Spec(
                run=1,
                mains=tuple(spec.MainSpec(name) for name in names),
                workers=tuple(spec.MainSpec(f"worker-{number}") for number in range(workers)),
                daemon_socket="/s",
            ),
            end,
        )

    return make


def test_a_single_main(team, end):
    made = team(1)
    made.advance()
    (main,) = made.job
    assert (made.begun, made.running, made.started_at, made.ended) == (True, 0, None, False)
    main.run()
    assert (made.running, made.started_at) == (1, 5)
    main.end(3)
    made.advance()
    assert (made.ended, made.gone) == (True, True)
    assert end.result() == ("Failed", "Main exited with code 3", 3)
    made.close()
    assert main.asked == ["start", "close"]


def test_the_job_waits_for_its_workers(team, end):
    made = team(1, workers=2)
    made.advance()
    made.workers[0].run("10.0.0.1")
    made.advance()
    assert not made.begun
    made.workers[1].run("10.0.0.2")
    made.advance()
    assert made.job[0].asked == ["start"]
    assert made.job[0].addresses == {"worker-0": "10.0.0.1", "worker-1": "10.0.0.2"}
    made.job[0].end(0)
    made.advance()
    assert (made.ended, made.gone) == (True, False)
    made.kill()
    assert made.workers[0].asked == ["start", "kill"]
    for worker in made.workers:
        worker.end(137)
    made.advance()
    assert made.gone
    assert end.result() == ("Succeeded", None, 0)


def test_a_worker_that_fails_fails_the_run(team, end):
    made = team(1, workers=2)
    made.advance()
    for worker in made.workers:
        worker.run()
    made.advance()
    made.workers[1].end(3)
    made.advance()
    assert end.wanted
    assert end.result() == ("Failed", "Worker exited with code 3 in worker-1", None)
    made.terminate()
    assert (made.job[0].asked, made.workers[0].asked) == (["start", "terminate"], ["start"])


def test_a_worker_that_fails_as_the_job_ends_is_nobodys_concern(team, end):
    made = team(1, workers=1)
    made.advance()
    made.workers[0].run()
    made.advance()
    made.workers[0].end(137)
    made.job[0].end(0)
    made.advance()
    assert end.result() == ("Succeeded", None, 0)


def test_an_end_counts_when_it_was_noticed(team, end):
    """Its thread may tell of it at any moment: until it was judged, nobody may take it for a good one."""
    made = team(1)
    made.advance()
    made.job[0].end(3)
    assert (made.ended, made.gone) == (False, False)
    made.advance()
    assert (made.ended, made.gone) == (True, True)
    assert end.failed


def test_a_worker_may_end_well_before_the_job(team, end):
    made = team(1, workers=1)
    made.advance()
    made.workers[0].run()
    made.workers[0].end(0)
    made.advance()
    assert made.begun
    assert not end.wanted


def test_a_worker_that_never_runs(team, end):
    made = team(1, workers=1)
    made.advance()
    made.workers[0].end(reason="cannot start the container: no such image")
    made.advance()
    made.advance()
    assert (made.begun, made.ended, made.gone) == (False, True, True)
    assert end.result() == ("Failed", "cannot start the container: no such image", None)


def test_a_run_that_is_stopped_while_it_waits_never_starts_its_job(team, end):
    made = team(1, workers=1)
    made.advance()
    end.cancel("enough")
    made.workers[0].run()
    made.advance()
    assert (made.begun, made.ended, made.gone) == (False, True, False)
    assert made.job[0].asked == []


def test_all_replicas_have_to_end(team, end):
    made = team(2)
    made.advance()
    for main in made.job:
        main.run()
    made.job[0].end(0)
    made.advance()
    assert (made.ended, made.running, end.result()[2]) == (False, 1, None)
    made.job[1].end(0)
    made.advance()
    assert made.ended
    assert end.result() == ("Succeeded", None, 0)


def test_the_first_replica_that_fails_fails_the_run(team, end):
    made = team(3)
    made.advance()
    for main in made.job:
        main.run()
    made.job[1].end(139)
    made.advance()
    assert end.wanted
    made.terminate()
    assert made.job[0].asked == ["start", "terminate"]
    assert made.job[1].asked == ["start"]
    made.job[0].end(143)
    made.job[2].end(143)
    made.advance()
    assert made.ended
    assert end.result() == ("Failed", "Main exited with code 139 (SIGSEGV)", 139)


def test_a_replica_that_cannot_be_started(team, end):
    made = team(3, broken=["job-1"])
    made.advance()
    assert end.result() == ("Failed", "cannot start job-1", None)
    assert made.started == [made.job[0]]
    made.job[0].end(143)
    made.advance()
    assert (made.ended, made.gone) == (True, True)


def test_a_better_word_than_the_code(team, end):
    made = team(1)
    made.advance()
    made.job[0].run()
    made.job[0].end(137, "Main was killed: out of memory (its limit is 8 MiB)")
    made.advance()
    assert end.result() == ("Failed", "Main was killed: out of memory (its limit is 8 MiB)", 137)


def test_an_end_is_in_doubt_until_the_run_knows_what_it_means(team, end):
    made = team(1)
    made.advance()
    made.job[0].run()
    assert not made.doubtful
    made.job[0].end(3)
    assert made.doubtful
    assert not end.wanted
    made.advance()
    assert not made.doubtful
    assert end.wanted
