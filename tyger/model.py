"""Wire types: one Struct a body, shared by the daemon and the commands. New fields always have defaults.

Source: contract `rest-api.md` (sections 4 to 6). Timestamps are text here (ISO 8601, see `units`); the
catalog stores integers. A field equal to its default is left out on output (rest-api.md 1.8). What the
daemon is sent is checked strictly (unknown fields are refused where the contract refuses them); what a
client reads is decoded tolerantly, so an older client reads a newer daemon.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1, extra_json_schema={"format": "int32"})]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1, extra_json_schema={"format": "int64"})]

Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""Text: see `units.parse_timestamp`, which reads more than RFC 3339 allows."""

_SPAN = r"^-?(\d{1,8}|(\d{1,8}\.)?([01]?\d|2[0-3]):[0-5]?\d(:[0-5]?\d(\.\d{1,7})?)?)$"
Span = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _SPAN})]
"""Text: see `units.parse_timespan`, which says what is wrong with one."""

BlockSize = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": 1 << 30})]
Seconds = Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0})]
Offset = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": 2**63 - 1})]
"""These bounds are checked where they are needed, in words that say what they mean."""

Quantity = str | int | float
"""A Kubernetes resource quantity, as text or number on input, canonical text on output."""


class Wire(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Base of all bodies: camelCase names, defaults left out."""


class Strict(Wire, forbid_unknown_fields=True):
    """A body in which an unknown field is an error."""


# --- pages and errors (rest-api.md 1.7, 2.3) --------------------------------------------------------------


class ErrorInfo(Wire):
    """What went wrong: a word for machines, a sentence for people."""

    code: str
    message: str
    api_versions: list[str] | None = None


class ErrorBody(Wire):
    """Body of an error answer."""

    error: ErrorInfo


# --- buffers (rest-api.md 4.1) ---------------------------------------------------------------------------


class Buffer(Strict):
    """A buffer as created, shown and listed. On input only `location`, `tags` and `expiresAt` count."""

    id: str | None = None
    location: str | None = None
    created_at: Timestamp | None = None
    is_soft_deleted: bool = False
    expires_at: Timestamp | None = None
    tags: dict[str, str] | None = None
    e_tag: str | None = None


class BufferPage(Wire):
    """One page of buffers; `nextLink` leads to the next one."""

    items: list[Buffer]
    next_link: str | None = None


class BufferUpdate(Wire):
    """Body of `PUT /buffers/{id}`; unknown fields are ignored (rest-api.md 1.8)."""

    id: str | None = None
    expires_at: Timestamp | None = None
    tags: dict[str, str] | None = None


class BufferAccess(Wire):
    """Answer of `POST /buffers/{id}/access`."""

    uri: str


class StorageAccount(Wire):
    """One place where buffers are kept."""

    name: str
    location: str
    endpoint: str


# --- codespecs (rest-api.md 5.1) -------------------------------------------------------------------------


class BufferParameters(Strict):
    """The named buffers of a job."""

    inputs: list[str] | None = None
    outputs: list[str] | None = None


class Socket(Wire):
    """A TCP port of main that is joined to buffers; unknown fields are ignored. No port is port 0."""

    port: Int32 = 0
    input_buffer: str | None = None
    output_buffer: str | None = None


class Overcommittable(Strict):
    """CPU and memory, as requests or as limits."""

    cpu: Quantity | None = None
    memory: Quantity | None = None


class Resources(Strict):
    """What main needs."""

    requests: Overcommittable | None = None
    limits: Overcommittable | None = None
    gpu: Quantity | None = None
    shm: Quantity | None = None


class CodespecBase(Strict, tag_field="kind", kw_only=True):
    """What jobs and workers have in common. Only `image` is required."""

    name: str | None = None
    version: Int32 | None = None
    created_at: Timestamp | None = None
    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    working_dir: str | None = None
    env: dict[str, str] | None = None
    identity: str | None = None
    resources: Resources | None = None
    max_replicas: Int32 | None = None


class JobCodespec(CodespecBase, tag="job", kw_only=True):
    """A codespec that a run's job executes."""

    buffers: BufferParameters | None = None
    sockets: list[Socket] | None = None


class WorkerCodespec(CodespecBase, tag="worker", kw_only=True):
    """A codespec for the workers of a distributed run (Kubernetes only)."""

    endpoints: dict[str, Int32] | None = None


Codespec = JobCodespec | WorkerCodespec


class CodespecPage(Wire):
    """One page of codespecs."""

    items: list[JobCodespec | WorkerCodespec]
    next_link: str | None = None


# --- runs (rest-api.md 6.1) ------------------------------------------------------------------------------

RunStatus = Literal["Pending", "Running", "Failed", "Succeeded", "Canceling", "Canceled"]


class WorkerTarget(Strict):
    """The worker half of a distributed run."""

    codespec: str | JobCodespec | WorkerCodespec
    node_pool: str | None = None
    replicas: Int32 = 1


class JobTarget(Strict):
    """The job: a codespec reference (`name` or `name/versions/N`) or an inline codespec, and its buffers."""

    codespec: str | JobCodespec | WorkerCodespec
    buffers: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    buffer_ttl: Span | None = None
    node_pool: str | None = None
    replicas: Int32 | None = None


class Run(Strict, kw_only=True):
    """A run. `id` to `finishedAt` are the daemon's; what a client sends there is ignored.

    So are `engine` and `imageDigest`, which are ours, and stand only in runs that another engine than the
    process engine executes: that engine's name, and what the image of the job was.
    """

    id: Int64 | None = None
    e_tag: str | None = None
    status: RunStatus | None = None
    status_reason: str | None = None
    running_count: Int32 | None = None
    created_at: Timestamp | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    kind: Literal["user", "system"] | None = None
    job: JobTarget
    worker: WorkerTarget | None = None
    cluster: str | None = None
    timeout_seconds: Int32 | None = None
    tags: dict[str, str] | None = None
    buffer_access_ttl: Span | None = None
    engine: str | None = None
    image_digest: str | None = None


class RunPage(Wire):
    """One page of runs."""

    items: list[Run]
    next_link: str | None = None


class RunCounts(Wire):
    """How many runs are in each status; those with none are left out."""

    pending: Int64 | None = None
    running: Int64 | None = None
    failed: Int64 | None = None
    succeeded: Int64 | None = None
    canceling: Int64 | None = None
    canceled: Int64 | None = None


class Progress(Wire):
    """A line of `GET /runs/_progress`: what is being done for a run that is being created, for people."""

    message: str


class RunUpdate(Wire):
    """Body of `PUT /runs/{id}`; unknown fields are ignored."""

    id: Int64 | None = None
    tags: dict[str, str] | None = None


# --- export and import (rest-api.md 4.11) ----------------------------------------------------------------


class ExportBuffersRequest(Strict):
    """Body of `POST /buffers/export`."""

    destination_storage_endpoint: str | None = None
    source_storage_account_name: str | None = None
    filters: dict[str, str] | None = None
    hash_ids: bool | None = None


class ImportBuffersRequest(Strict):
    """Body of `POST /buffers/import`."""

    storage_account_name: str | None = None


# --- service ---------------------------------------------------------------------------------------------


class Metadata(Wire):
    """Answer of `GET /metadata` (rest-api.md 3.1)."""

    capabilities: list[str]
    api_versions: list[str]
    storage_endpoints: list[str]


class DatabaseVersion(Wire):
    """Answer of `GET /database-version-in-use`."""

    id: Int32


# --- transfers (ours, docs/design.md "Transfers") --------------------------------------------------------

TransferState = Literal["running", "suspended", "ended", "spooled", "failing", "complete", "failed"]
Priority = Literal["live", "bulk"]


class WriteRequest(Strict):
    """Body of `POST /transfers`: one descriptor, the read end of a pipe, comes with it.

    `id` is the client's own name for the transfer (32 hexadecimal digits): a client that lost the answer
    sends the same request again. Exactly one of `buffer`, an ID, and `url`, an access URL, is given;
    `renewable` says that the client can bring another URL when that one expires. `blockSize` in bytes,
    `flushInterval` in seconds (0: seal only full blocks). `run` is the run on whose behalf the transfer is
    made, for `transfer list`. `priority`: `live` goes before `bulk` on a busy link. `detach`: the client will
    leave as soon as all is in the spool.
    """

    buffer: str | None = None
    url: str | None = None
    renewable: bool = False
    id: str | None = None
    block_size: BlockSize = 4 * 1024 * 1024
    flush_interval: Seconds = 1.0
    run: int | None = None
    priority: Priority = "live"
    detach: bool = False


class ReadRequest(Strict):
    """Body of `POST /transfers/read`: reads behind an access URL; the rest as in the query of `GET`."""

    url: str
    offset: Offset = 0
    length: Offset | None = None
    follow: bool = True
    block: Offset = 0
    start: Offset = 0


class NewAccess(Strict):
    """Body of `POST /transfers/{id}/access`: another access URL of the same buffer."""

    url: str


class Outcome(Strict):
    """Body of `POST /transfers/{id}/outcome`: how the producer ended."""

    outcome: Literal["complete", "failed"]
    reason: str | None = None


class RelayEnd(Strict):
    """Body of `POST /relays/{id}/write` and `read`: one descriptor, an end of a pipe, comes with it.

    `job`: the end is the run's own. `joined`: it was joined to the other end by a daemon that is gone.
    """

    job: bool = False
    joined: bool = False


class Transfer(Wire):
    """One write or read in progress or lately ended. Sizes in bytes.

    States of a write: `running` (capturing), `suspended` (the daemon was away and the client has not come
    back yet), `ended` (end of file seen, the client's word is awaited), then, where the buffer is kept
    elsewhere, `spooled` (all of it is on this host and being shipped) or `failing` (the store is being told
    that it has failed); at last `complete` or `failed`. A read is `running` while its connection is open.
    `waiting` says in words what a transfer that is not over waits for. `shipped` counts what the store has.
    `stalled` is why shipping has stopped until somebody resumes it; `code` the kind of a failure.
    """

    id: str
    kind: Literal["write", "read"]
    buffer: str
    state: TransferState
    reason: str | None = None
    waiting: str | None = None
    bytes: int = 0
    blocks: int = 0
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    owner: int | None = None
    run: int | None = None
    location: str | None = None
    shipped: int | None = None
    paused: bool | None = None
    stalled: str | None = None
    priority: Priority | None = None
    code: str | None = None


class Transfers(Wire):
    """Answer of `GET /transfers`."""

    items: list[Transfer]
