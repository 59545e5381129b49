"""What Microsoft's Tyger has, as data: endpoints, commands, flags, variables; and where ours is not the same.

`compatibility.py` makes a part of docs/compatibility.md of it, with the route table and the parsers beside
it. What is written here is checked against them: a thing of the contract that ours lacks needs a line in
`NOT_THERE`, and such a line for a thing that is there is a mistake.
"""

from __future__ import annotations

ENDPOINTS: dict[str, str] = {
    "GET /metadata": "",
    "GET /healthcheck": "",
    "GET /database-version-in-use": "",
    "GET /swagger/v1.0/swagger.json": "",
    "GET /swagger/v1.0/swagger.yaml": "",
    "POST /buffers": "",
    "GET /buffers": "limit _ct softDeleted tag excludeTag",
    "DELETE /buffers": "ttl softDeleted tag excludeTag",
    "POST /buffers/restore": "tag excludeTag",
    "GET /buffers/count": "softDeleted tag excludeTag",
    "GET /buffers/storage-accounts": "",
    "POST /buffers/export": "",
    "POST /buffers/import": "",
    "GET /buffers/{id}": "softDeleted",
    "PUT /buffers/{id}": "softDeleted If-Match",
    "DELETE /buffers/{id}": "ttl softDeleted",
    "POST /buffers/{id}/restore": "",
    "POST /buffers/{id}/access": "writeable ttl preferTcp fromDocker",
    "PUT /codespecs/{name}": "",
    "GET /codespecs/{name}": "",
    "GET /codespecs/{name}/versions/{version}": "",
    "GET /codespecs": "limit _ct prefix",
    "POST /runs": "Idempotency-Key",
    "GET /runs": "limit _ct since status tag",
    "GET /runs/counts": "since tag",
    "GET /runs/{runId}": "watch",
    "PUT /runs/{runId}": "If-Match",
    "POST /runs/{runId}/cancel": "",
    "GET /runs/{runId}/logs": "timestamps tailLines since follow",
    "POST /runs/_sweep": "",
    "HEAD /containers/{container}": "sv sp st se sig",
    "PUT /containers/{container}": "sv sp st se sig",
    "DELETE /containers/{container}": "sv sp st se sig",
    "PUT /containers/{container}/{blob}": "sv sp st se sig Content-MD5",
    "GET /containers/{container}/{blob}": "sv sp st se sig",
    "HEAD /containers/{container}/{blob}": "sv sp st se sig",
}
"""Method and path: query parameters, and headers with an effect, each after another."""

_CREATE = (
    "-f/--file -c/--codespec --version -r/--replicas --node-pool -b/--buffer --buffer-tag --buffer-ttl"
    " --worker-codespec --worker-version --worker-replicas --worker-node-pool --cluster --timeout --tag"
    " --pull --buffer-access-ttl"
)
_MANY = "--tag --all --exclude-tag --force"

COMMANDS: dict[str, str] = {
    "tyger": "--log-level --log-format --proxy --baggage -h/--help -v/--version",
    "tyger login": (
        "-f/--file --local --proxy --tls-certificates -s/--service-principal -c/--cert-file"
        " -t/--cert-thumbprint -d/--use-device-code --identity --identity-client-id --github"
        " --federated-identity"
    ),
    "tyger login status": "--format",
    "tyger logout": "",
    "tyger buffer create": "--location --tag --ttl --full-resource",
    "tyger buffer show": "--soft-deleted",
    "tyger buffer set": "--tag --clear-tags --ttl --etag --soft-deleted",
    "tyger buffer list": "--tag --exclude-tag --soft-deleted -l/--limit",
    "tyger buffer access": "-w/--write --access-ttl",
    "tyger buffer read": "-o/--output -p/--dop --access-ttl",
    "tyger buffer write": "-i/--input -p/--dop -b/--block-size -f/--flush-interval --access-ttl",
    "tyger buffer gen": "-o/--output",
    "tyger buffer delete": _MANY,
    "tyger buffer restore": _MANY,
    "tyger buffer purge": _MANY,
    "tyger buffer storage-account list": "",
    "tyger buffer export": "--source-storage-account --tag --hash-ids",
    "tyger buffer import": "--storage-account",
    "tyger codespec create": (
        "-f/--file --image -k/--kind -r/--max-replicas -i/--input -o/--output -e/--env --endpoint --identity"
        " --cpu-request --memory-request --cpu-limit --memory-limit --gpu --shm --command"
    ),
    "tyger codespec show": "--version",
    "tyger codespec list": "-p/--prefix -l/--limit",
    "tyger run create": _CREATE,
    "tyger run exec": f"{_CREATE} --logs --timestamps --block-size --write-dop --read-dop",
    "tyger run show": "",
    "tyger run watch": "--full-resource",
    "tyger run logs": "-f/--follow --timestamps --tail -s/--since",
    "tyger run list": "-s/--since --tag --status -l/--limit",
    "tyger run counts": "-s/--since --tag",
    "tyger run set": "--tag --clear-tags --etag",
    "tyger run cancel": "",
    "tyger stdio-proxy": "",
    "tyger stdio-proxy login": "--server-url --preflight",
    "tyger stdio-proxy sleep": "",
    "tyger completion bash": "",
    "tyger completion zsh": "",
    "tyger completion fish": "",
    "tyger completion powershell": "",
    "tyger help": "",
    "tyger __complete": "",
    "tyger config create": "-f/--file",
    "tyger config validate": "-f/--file",
    "tyger config pretty-print": "-f/--file -i/--input -o/--output",
    "tyger config convert": "-i/--input -o/--output",
    "tyger cloud install": "-f/--file --org --skip-shared",
    "tyger cloud uninstall": "-f/--file --org --all",
    "tyger api install": "-f/--file --org",
    "tyger api uninstall": "-f/--file --org --delete-data --preserve-run-containers",
    "tyger api logs": "-f/--file --org --follow --tail --data-plane",
    "tyger api migration list": "-f/--file --org --all",
    "tyger api migration apply": "-f/--file --org --target-version --latest --wait --offline",
    "tyger api migration logs": "-f/--file --org",
    "tyger api generate-signing-key": "--public --private",
    "tyger access-control init": "-f/--file",
    "tyger access-control show": "--server-url -f/--file",
    "tyger access-control apply": "-f/--file --org",
    "tyger access-control pretty-print": "-f/--file -i/--input -o/--output",
    "tyger-proxy": "--log-level --log-format --proxy -h/--help -v/--version",
    "tyger-proxy run": "-f/--file",
    "tyger-proxy start": "-f/--file",
    "tyger-server": "",
    "tyger-server database init": "--target-version",
    "tyger-server database migrate": "--target-version --offline",
    "tyger-server database list-versions": "",
    "buffer-sidecar": "",
    "worker-waiter": "",
    "buffer-copier": "",
    "loader": "",
}
"""A command: its flags, a short form before its long one."""

ALIASES: dict[str, str] = {
    "tyger buffers": "tyger buffer",
    "tyger buffer storage-accounts": "tyger buffer storage-account",
    "tyger codespecs": "tyger codespec",
    "tyger codespec get": "tyger codespec show",
    "tyger runs": "tyger run",
    "tyger run get": "tyger run show",
    "tyger run count": "tyger run counts",
    "tyger run stop": "tyger run cancel",
    "tyger api migrations": "tyger api migration",
}

VARIABLES: dict[str, str] = dict.fromkeys(
    [
        "TYGER_CACHE_FILE",
        "TYGER_SOCKET_PATH",
        "TYGER_ACCESSING_FROM_DOCKER",
        "TYGER_DOCKER_HOST_PATH_TRANSLATIONS",
        "XDG_CACHE_HOME",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "NO_COLOR",
        "BROWSER",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "DOCKER_HOST",
        "WSL_DISTRO_NAME",
    ],
    "",
)
"""Environment variables that the original's commands look at."""

# --- where ours is not the same ----------------------------------------------------------------------------
#
# Keys are an endpoint, a command or a variable; or one of these, a space and a parameter or a flag.

_POOLS = "in clusters, spelled as it is configured; the other engines ignore it"
_PARALLEL = "the daemon decides how many requests are under way"

_EXTRA = "extra words are refused"
_DONE = "what was done is printed although a later id fails; the question is a line of its own"
_DATES = "a bare date is midnight, offsets have their usual sign; see *Dates*"
_STDIN = "`-` is standard input"
_WORKERS = "in clusters and containers; the process engine has none and refuses the run"
_PULL = "the daemon pulls, not the command; without a container engine a warning, as there without Docker"

DIFFERS: dict[str, str] = {
    "GET /database-version-in-use": "the number is that of our own catalog",
    "GET /swagger/v1.0/swagger.json": "the texts are ours",
    "GET /swagger/v1.0/swagger.yaml": "the texts are ours",
    "POST /buffers": "`eTag` and `isSoftDeleted` of a client are not echoed",
    "GET /buffers": "the `eTag` of the last item is right; a page has 32 MiB at most",
    "GET /buffers tag": "`tag[A]` and `tag[a]` are two filters; 200 at most",
    "GET /buffers excludeTag": "200 at most",
    "PUT /buffers/{id}": "1000 tags at most",
    "POST /buffers/{id}/access": (
        "an id with a dash is a 404; a `ttl` out of range is a 400; an ephemeral buffer's URL has a path"
    ),
    "POST /buffers/export": "the local store can be a source, and the destination must be configured",
    "POST /buffers/{id}/access preferTcp": "with `[store.local] listen` an https URL; else without effect",
    "POST /buffers/import": "several accounts and no name are a 400",
    "GET /codespecs": "a page has 32 MiB at most",
    "POST /runs": (
        "see *Runs*; an argument is checked before missing buffers are made, a wrong kind is a 400"
    ),
    "POST /runs Idempotency-Key": "an empty one is none",
    "GET /runs": "a continuation token with odd characters is a 400; a page has 32 MiB at most",
    "GET /runs/{runId} watch": "no duplicates; a watcher that does not read for a minute is cut off",
    "PUT /runs/{runId}": "1000 tags at most",
    "POST /runs/{runId}/cancel": "SIGTERM first, SIGKILL after `cancel_grace`; the answer is the whole run",
    "GET /runs/{runId}/logs since": "strictly later, to the nanosecond, also while the run goes on",
    "GET /runs/{runId}/logs tailLines": "the last lines of all streams, also while the run goes on",
    "tyger": "exit codes; see *Commands*",
    "tyger --log-level": "`trace` shows a stream's head at once, without its body",
    "tyger login": "Unix sockets only so far; see *Which daemon a command speaks to*",
    "tyger login -f/--file": _STDIN,
    "tyger login --proxy": "kept for other programs; a Unix socket is never reached through a proxy",
    "tyger login --tls-certificates": "kept for other programs; a Unix socket has no TLS",
    "tyger login status": "without a login it names the daemon that the commands would speak to",
    "tyger buffer create": _EXTRA,
    "tyger buffer list": _EXTRA,
    "tyger buffer storage-account list": _EXTRA,
    "tyger buffer read": "an unknown id fails at once; a failed buffer ends with 74",
    "tyger buffer write": "an unknown id fails at once; a daemon that is away is waited for",
    "tyger buffer delete": _DONE,
    "tyger buffer restore": _DONE,
    "tyger buffer purge": _DONE,
    "tyger buffer export": "the local store can be a source; a signal cancels the run",
    "tyger buffer import": "the only account need not be named; a signal cancels the run",
    "tyger codespec create -f/--file": _STDIN,
    "tyger run create": "without a codespec it says so; unquoted numbers of an inline codespec become text",
    "tyger run create -f/--file": _STDIN,
    "tyger run exec": "a signal, or a stream that fails, cancels the run (`--on-exit detach` does not)",
    "tyger run exec -f/--file": _STDIN,
    "tyger run create --worker-codespec": _WORKERS,
    "tyger run create --worker-version": _WORKERS,
    "tyger run create --worker-replicas": _WORKERS,
    "tyger run create --pull": _PULL,
    "tyger run exec --worker-codespec": _WORKERS,
    "tyger run exec --worker-version": _WORKERS,
    "tyger run exec --worker-replicas": _WORKERS,
    "tyger run exec --pull": _PULL,
    "tyger run create --node-pool": _POOLS,
    "tyger run create --cluster": _POOLS,
    "tyger run create --worker-node-pool": _POOLS,
    "tyger run exec --node-pool": _POOLS,
    "tyger run exec --cluster": _POOLS,
    "tyger run exec --worker-node-pool": _POOLS,
    "tyger run watch": "the end of the stream without a final state is a cut: it asks again",
    "tyger run logs": "a run that is not there is `NotFound`",
    "tyger run logs -f/--follow": "after a broken stream it goes on at exactly the next line",
    "tyger run logs -s/--since": _DATES,
    "tyger run list": _EXTRA,
    "tyger run list -s/--since": _DATES,
    "tyger run counts": _EXTRA,
    "tyger run counts -s/--since": _DATES,
    "tyger-proxy run": "Unix sockets only so far; see *tyger-proxy*",
    "tyger-proxy start": "as `run`; `port: 0` takes any port",
    "HTTPS_PROXY": "for the daemon, on its way to a store; a Unix socket is never reached through a proxy",
    "HTTP_PROXY": "as `HTTPS_PROXY`",
    "NO_PROXY": "as `HTTPS_PROXY`",
    "DOCKER_HOST": "the daemon reads it, for the container engine; a Unix socket only",
}
"""It does something else, on purpose."""

NO_EFFECT: dict[str, str] = {
    "POST /buffers/{id}/access fromDocker": "there is one socket",
    "POST /runs/_sweep": "a run is put away as soon as it has ended",
    "tyger --proxy": "a Unix socket is never reached through a proxy",
    "tyger-proxy --proxy": "a Unix socket is never reached through a proxy",
    "tyger buffer read -p/--dop": _PARALLEL,
    "tyger buffer read --access-ttl": "the daemon needs no access URL of its own",
    "tyger buffer write -p/--dop": _PARALLEL,
    "tyger buffer write --access-ttl": "the daemon needs no access URL of its own",
    "tyger run exec --write-dop": _PARALLEL,
    "tyger run exec --read-dop": _PARALLEL,
}
"""It is accepted, and changes nothing."""

_IDENTITY = "with the original's checks and messages; identities of Azure are not there yet"

REFUSED: dict[str, str] = {
    "tyger login -s/--service-principal": _IDENTITY,
    "tyger login -c/--cert-file": _IDENTITY,
    "tyger login -t/--cert-thumbprint": _IDENTITY,
    "tyger login -d/--use-device-code": _IDENTITY,
    "tyger login --identity": _IDENTITY,
    "tyger login --identity-client-id": _IDENTITY,
    "tyger login --github": _IDENTITY,
    "tyger login --federated-identity": _IDENTITY,
}
"""It is understood and refused, by name."""

_PACKAGE = "an installer of Azure; tygerd is installed from its package, one daemon a machine"
_SETTINGS = "the daemon's settings are in `tygerd.toml`, described by tygerd.toml(5) and read when it starts"
_CATALOG = "`tygerd` upgrades its catalog when it starts, and refuses one that is newer"
_ENTRA = "access is that of the socket: its mode and group say who may connect"
_CONTAINER = "helpers inside the original's containers; the daemon does it"

NOT_THERE: dict[str, str] = {
    "tyger completion powershell": "bash, zsh and fish have theirs",
    "tyger config create": _SETTINGS,
    "tyger config validate": _SETTINGS,
    "tyger config pretty-print": _SETTINGS,
    "tyger config convert": _SETTINGS,
    "tyger cloud install": _PACKAGE,
    "tyger cloud uninstall": _PACKAGE,
    "tyger api install": _PACKAGE,
    "tyger api uninstall": _PACKAGE,
    "tyger api logs": "`journalctl -u tygerd`, or `tygerd.log` in the state directory of user mode",
    "tyger api migration list": _CATALOG,
    "tyger api migration apply": _CATALOG,
    "tyger api migration logs": _CATALOG,
    "tyger api migrations": _CATALOG,
    "tyger api generate-signing-key": "`tygerd` makes its own keys at its first start",
    "tyger access-control init": _ENTRA,
    "tyger access-control show": _ENTRA,
    "tyger access-control apply": _ENTRA,
    "tyger access-control pretty-print": _ENTRA,
    "tyger-server": "`tygerd`",
    "tyger-server database init": _CATALOG,
    "tyger-server database migrate": _CATALOG,
    "tyger-server database list-versions": _CATALOG,
    "buffer-sidecar": _CONTAINER,
    "worker-waiter": _CONTAINER,
    "buffer-copier": _CONTAINER,
    "loader": _CONTAINER,
    "TYGER_ACCESSING_FROM_DOCKER": "there is one socket",
    "TYGER_DOCKER_HOST_PATH_TRANSLATIONS": "an installer's",
    "BROWSER": "no interactive login",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "no login with a token",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "no login with a token",
    "WSL_DISTRO_NAME": "an installer's",
}
"""It is missing: why, and what stands instead."""
