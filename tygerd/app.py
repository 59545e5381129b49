"""Composition root: builds every part, starts them in order under one nursery, and stops them in reverse.

Only this module knows which store and which engine are plugged in. No logic: what a part does it does itself.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import trio

import tyger
from tyger import errors, paths
from tygerd import clock, config, events, logs
from tygerd.api import context, outside, routes
from tygerd.blocks import md5lanes
from tygerd.buffers import service as buffers
from tygerd.catalog import db
from tygerd.codespecs import service as codespecs
from tygerd.copying import engine as copier
from tygerd.copying import service as copying
from tygerd.engines import base, several
from tygerd.engines.container import engine as container
from tygerd.engines.process import engine as process
from tygerd.engines.supervised import spawn
from tygerd.http import connection, listener, problems, receive, router, server
from tygerd.identity import keys
from tygerd.osutil import statedir, systemd
from tygerd.runs import service as runs
from tygerd.stores import azure, local, localurls, network, places
from tygerd.streams import assembly, relays, remote, transfers

SENDING_THREADS = 16
"""Bodies that leave by sendfile at the same time; a slow peer gives its thread back."""

OPEN_FILES = 16384
"""Descriptors we ask for, if the hard limit allows: connections, passed pipes and block files of many
transfers.
"""

RESERVE_CHECK, FULL_CHECK = 10, 1
"""Seconds between looks at the free space, with a reserve and without one: it must be back before the streams
that waited for room have filled it again.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; None: not given."""

    config: str | None = None
    socket: str | None = None
    state: str | None = None
    system: bool = False
    idle_exit: float | None = None
    log_format: logs.Format | None = None
    autostarted: bool = False


def serve(options: Options) -> int:
    """Run the daemon until it is told to stop; the exit code. For a process of its own."""
    os.umask(0o077)
    log_format = options.log_format or logs.choose(sys.stderr, os.environ)
    logs.set_up(log_format, debug=bool(os.environ.get("TYGERD_DEBUG")))
    try:
        where = paths.locate(
            os.environ,
            system=options.system,
            socket=options.socket,
            state=options.state,
            config=options.config,
        )
        settings = config.load(where.config, required=options.config is not None)
        _raise_file_limit()
        state = statedir.StateDirectory.open(where.state)
        try:
            trio.run(_run, options, where, settings, state)
        finally:
            state.close()
    except Exception as error:  # noqa: BLE001 - the end of the process: it says why and which code
        return _fail(error, log_format, options)
    return 0


def _fail(error: Exception, log_format: logs.Format, options: Options) -> int:
    """Say why the daemon ends, in one line where that is possible; the exit code."""
    problem = problems.find(error)
    if problem is None:
        logger.critical("a defect ended the daemon", exc_info=error)
        problem = errors.Problem(errors.INTERNAL, f"a defect ended the daemon: {error!r}")
    elif log_format == "human":
        sys.stderr.write(f"tygerd: {problem}\n")
    else:
        logger.critical("%s", problem)
    if options.autostarted:
        _tell_starter(f"{problem.kind.code}: {problem}")
    return problem.exit_code


def _tell_starter(line: str) -> None:
    """Say one line to the command that started us (`tyger.autostart`), once, and let go of its pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.write(1, f"{' '.join(line.splitlines())}\n".encode())
    except OSError:
        logger.debug("the command that started the daemon is gone")
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(
    options: Options, where: paths.Paths, settings: config.Config, state: statedir.StateDirectory
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        # First: its port is in access URLs.
        tcp = await trio.to_thread.run_sync(
            outside.Outside.open, settings.store.local, os.path.join(where.state, "keys")
        )
        async with _parts(where, settings, state, tcp) as (app, background):
            listening = _listen(where, settings)
            site = connection.Site(
                app=app,
                router=router.Router(routes.ROUTES),
                limits=settings.limits,
                version=app.version,
                fds=receive.Quota(settings.limits.fds_per_uid),
                threads=trio.CapacityLimiter(SENDING_THREADS),
                life=secrets.token_hex(4),
            )
            front = server.Server(
                site,
                listening,
                connections_per_uid=settings.limits.connections_per_uid,
                stop_deadline=settings.daemon.stop_deadline,
            )
            app.connections = front.statistics
            beside = None if tcp is None else tcp.server(app, stop_deadline=settings.daemon.stop_deadline)
            if tcp is not None and beside is not None:
                app.tcp_connections = beside.statistics
                background.start_soon(beside.serve)
                logger.info("the data plane is at %s", tcp.endpoint)

            def stop() -> None:
                state.leave()
                app.relays.stop()
                front.stop()
                if beside is not None:
                    beside.stop()

            background.start_soon(_obey, signals, stop)
            await background.start(_keep_reserve, state)
            idle_exit = settings.daemon.idle_exit if options.idle_exit is None else options.idle_exit
            if options.autostarted or options.idle_exit is not None:
                background.start_soon(_leave_when_idle, app, front, idle_exit, stop)
            await trio.to_thread.run_sync(state.record_socket, listening.path)
            gc.collect()
            gc.freeze()  # what was loaded stays: to look through it takes 20 ms, in which nothing moves
            extra = {"pid": os.getpid(), "state": where.state, "hashing": md5lanes.describe()}
            logger.info("ready on %s", listening.path, extra=extra)
            systemd.notify("READY=1", os.environ)
            if options.autostarted:
                _tell_starter("ready")
            await front.serve()
            systemd.notify("STOPPING=1", os.environ)
            logger.info("stopped")


@asynccontextmanager
async def _parts(
    where: paths.Paths,
    settings: config.Config,
    state: statedir.StateDirectory,
    tcp: outside.Outside | None,
) -> AsyncIterator[tuple[context.App, trio.Nursery]]:
    """Everything below the socket, started; the nursery is for what runs as long as they do."""
    power = settings.store.durability == "power"
    path = os.path.join(where.state, "catalog.sqlite3")
    catalog = await trio.to_thread.run_sync(
        lambda: db.Catalog.open(path, sync=power, make_room=state.make_room)
    )
    try:
        signer = await trio.to_thread.run_sync(keys.load_or_create, os.path.join(where.state, "keys"))
        urls = localurls.LocalUrls(signer, where.socket, None if tcp is None else tcp.endpoint)
        store = local.LocalStore(where.state, urls=urls, sync=power)
        await store.start()
        networking = await trio.to_thread.run_sync(
            lambda: network.settings(
                os.environ, proxy=settings.transfer.proxy, ca_file=settings.transfer.ca_file
            )
        )
        stores = places.Places(
            store,
            await trio.to_thread.run_sync(azure.stores, settings, networking),
            settings.store.default_location,
        )
        news = events.Events()
        relay_service = relays.Relays(urls, reattach_grace=settings.transfer.reattach_grace)
        buffer_service = buffers.Buffers(
            catalog, stores, settings.buffers, announce=news.announce, relayed=relay_service.url
        )
        await buffer_service.start()
        remotes = remote.Remotes(
            networking, bandwidth=settings.transfer.bandwidth or None, deadline=settings.transfer.deadline
        )
        transfer_service = transfers.Transfers(
            catalog,
            assembly.Parts(
                places=stores,
                remotes=remotes,
                state=where.state,
                sync=power,
                spool_limit=settings.spool.limit,
                spool_floor=settings.spool.floor,
                own_sockets_only=where.system,
            ),
            locate=buffer_service.locate_active,
            reattach_grace=settings.transfer.reattach_grace,
            lease_grace=settings.transfer.lease_grace,
            announce=news.announce,
        )
        codespec_service = codespecs.Codespecs(catalog)
        users, former = _engines(
            where, settings, catalog.installation, buffer_service, relay_service, tcp, networking
        )
        run_service = runs.Runs(
            catalog,
            several.Engines(
                users,
                copier.CopyEngine(
                    where.state,
                    copying.Copying(
                        catalog,
                        stores,
                        remotes,
                        deadline=settings.transfer.deadline,
                        announce=news.announce,
                    ).perform,
                    sync=power,
                ),
                former=former,
                use=settings.engine.use,
            ),
            buffers=buffer_service,
            codespecs=codespec_service,
            transfer_service=transfer_service,
            relay_service=relay_service,
            state=where.state,
            sync=power,
            announce=news.announce,
        )
        app = context.App(
            version=tyger.__version__,
            started=clock.boottime(),
            paths=where,
            config=settings,
            events=news,
            catalog=catalog,
            places=stores,
            store=store,
            signer=signer,
            buffers=buffer_service,
            codespecs=codespec_service,
            runs=run_service,
            transfers=transfer_service,
            relays=relay_service,
            connections=lambda: server.Statistics(0, 0, 0),
        )
        async with trio.open_nursery() as background:
            await background.start(relay_service.run)
            await background.start(transfer_service.run)
            await background.start(run_service.run)
            background.start_soon(buffer_service.run)
            if power:  # before anybody is told anything
                await trio.to_thread.run_sync(state.sync)
            yield app, background
            background.cancel_scope.cancel()
        for elsewhere in stores.remote:
            await elsewhere.close()
    finally:
        catalog.close()


def _engines(
    where: paths.Paths,
    settings: config.Config,
    installation: str,
    buffer_service: buffers.Buffers,
    relay_service: relays.Relays,
    tcp: outside.Outside | None,
    networking: network.Network,
) -> tuple[list[base.Engine], list[base.Engine]]:
    """Those for what users submit, the preferred first: on this host before elsewhere; and former ones."""
    supervisors = spawn.Supervisors()
    every: list[base.Engine] = [
        container.ContainerEngine(where, settings, installation=installation, supervisors=supervisors),
        process.ProcessEngine(where, settings, supervisors),
    ]
    former: list[base.Engine] = []
    is_configured = settings.engine.kubernetes is not None
    if is_configured or _has_entries(os.path.join(where.state, "cluster")):
        from tygerd.engines.kubernetes import engine as kubernetes  # 30 ms, for daemons that have a cluster
        from tygerd.engines.kubernetes import secrets as pod_secrets

        async def sign(buffer: str, writeable: bool, ttl: timedelta) -> str:
            return await buffer_service.access_url(buffer, writeable=writeable, ttl=ttl, over_tcp=True)

        def entra(url: str) -> Any:
            from tygerd.stores import azuretransport  # only where a cluster asks Entra ID

            return azuretransport.transport(networking, url)

        urls = pod_secrets.AccessUrls(sign, (lambda: None) if tcp is None else tcp.trusted)
        make = kubernetes.KubernetesEngine if is_configured else kubernetes.Former
        made = make(where, settings, installation=installation, urls=urls, ends=relay_service, entra=entra)
        (every if is_configured else former).append(made)
    return every, former


def _has_entries(directory: str) -> bool:
    try:
        return bool(os.listdir(directory))
    except OSError:
        return False


def _listen(where: paths.Paths, settings: config.Config) -> listener.Listener:
    try:
        passed = systemd.passed_socket(os.environ)
    except ValueError as error:
        raise errors.Problem(errors.CONFIG, str(error)) from None
    if passed is not None:
        return listener.Listener.passed(passed)
    mode = settings.socket.mode
    if mode is None:
        mode = config.Mode(0o660 if where.system else 0o600)
    return listener.Listener.bind(where.socket, mode=mode, group=settings.socket.group)


async def _obey(signals: AsyncIterator[int], stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT stop the daemon; the terminal that it was started from may close (SIGHUP)."""
    async for number in signals:
        if number != signal.SIGHUP:
            logger.info("%s: stopping", signal.Signals(number).name)
            stop()


async def _keep_reserve(
    state: statedir.StateDirectory, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Give the reserve up when the disk is full, take it back when there is room. Started: it has looked."""
    stands = await trio.to_thread.run_sync(state.tend_reserve)
    task_status.started()
    while True:
        await trio.sleep(RESERVE_CHECK if stands else FULL_CHECK)
        stands = await trio.to_thread.run_sync(state.tend_reserve)


async def _leave_when_idle(
    app: context.App, front: server.Server, idle_exit: float, stop: Callable[[], None]
) -> None:
    """Stop once nothing has been going on for `idle_exit` seconds."""
    busy_until = clock.boottime()
    while True:
        others = 0 if app.tcp_connections is None else app.tcp_connections().connections
        if front.statistics().connections or others or app.unfinished():
            busy_until = clock.boottime()
        left = max(busy_until, front.quiet_since) + idle_exit - clock.boottime()
        if left <= 0:
            logger.info("nothing to do for %g seconds: leaving", idle_exit)
            stop()
            return
        await trio.sleep(left)
