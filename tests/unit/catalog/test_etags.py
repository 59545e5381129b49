from tyger import units
from tygerd.catalog import etags

ID = "4xr6p5pdmy7ujanqhh7xkz2f3a"
RUN = {
    "status": "Running",
    "status_reason": None,
    "running_count": None,
    "started_at": None,
    "finished_at": None,
    "cluster": None,
    "job_node_pool": None,
    "worker_node_pool": None,
    "has_worker": False,
    "tags": {},
}


def test_the_contracts_samples():
    assert etags.of_buffer(ID, is_soft_deleted=False, expires_at=None, tags={}) == "3726351716079049356"
    expiry = units.to_micros(units.parse_timestamp("2025-03-18T02:55:10.114186Z"))
    assert etags.of_buffer(ID, is_soft_deleted=True, expires_at=expiry, tags={}) == "10072690995705686547"
    tags = {"mykey2": "myvalue2", "mykey1": "myvalue1"}
    example = etags.of_buffer("yf4sx2aqzitepjhmxjhanomn5e", is_soft_deleted=False, expires_at=None, tags=tags)
    assert example == "12554435542173460513"


def test_a_runs_etag_changes_with_each_part():
    changes = {
        "status": "Failed",
        "status_reason": "x",
        "running_count": 1,
        "started_at": 1,
        "finished_at": 1,
        "cluster": "c",
        "job_node_pool": "p",
        "has_worker": True,
        "tags": {"a": ""},
    }
    seen = {etags.of_run(1, **RUN), etags.of_run(2, **RUN), etags.of_run(1, **{**RUN, "status": None})}
    seen |= {etags.of_run(1, **{**RUN, name: value}) for name, value in changes.items()}
    assert len(seen) == 3 + len(changes)
    assert all(etag.isdecimal() for etag in seen)
