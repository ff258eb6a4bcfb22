"""A nats-server, a weaver, and the network before the server: each to be broken by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

from harness.faults import go_on, holds
from harness.nats import kill as kill_nats
from harness.proxy import Proxy
from harness.trainers import clean_environment
from weavelet.client import Client
from weavelet.exceptions import CommandError
from weavelet.settings import read_endpoint
from weavelet.weaver.nats_server import NatsServer


class Weaver:
    """A `weavelet up` in a process of its own, with further arguments and variables."""

    def __init__(self, folder, *arguments, **environment):
        self.home = folder
        self.log = folder.with_name("weaver.log")
        self._arguments = arguments
        self._environment = {
            **clean_environment(),
            "WEAVELET_HOME": str(folder),
            **environment,
        }
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def endpoint(self):
        return read_endpoint(self.home)

    def start(self):
        """Start it; return when clients can come."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "weavelet.client.cli", "up", "--port", "0"]
                + [str(argument) for argument in self._arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        holds(self._is_up, 60, f"a weaver; see {self.log}:")

    def _is_up(self):
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        endpoint = self.endpoint
        return endpoint is not None and endpoint.pid == self.pid

    def client(self):
        """A client; token and port outlive the process."""
        return Client(self.endpoint.http_url, self.endpoint.token)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            go_on(self.pid)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


class Stage:
    """All but the trainers. `store` is the folder of the nats-server."""

    def __init__(self, folder, store=None, weaver_environment=()):
        self.folder = folder
        self.store = store or folder / "nats"
        self.nats = NatsServer(self.store)
        asyncio.run(self.nats.start())
        self.proxy = Proxy(lambda: ("127.0.0.1", self.nats.port))
        self.weaver = Weaver(
            folder / "home", "--nats-url", self.nats.url, **dict(weaver_environment)
        )
        self.sidecar_log = folder / "sidecar.log"

    def names(self, run, job):
        """The environment of a trainer whose way to the server is the proxy."""
        return {
            "WEAVELET_RUN": run,
            "WEAVELET_JOB": job,
            "WEAVELET_NATS_URL": self.nats.url.replace(f":{self.nats.port}", f":{self.proxy.port}"),
            "WEAVELET_SIDECAR_LOG": str(self.sidecar_log),
        }

    def client(self):
        return self.weaver.client()

    def kill_nats(self):
        kill_nats(self.nats)

    def start_nats(self):
        asyncio.run(self.nats.start())

    def stop_nats(self):
        os.killpg(self.nats.process.pid, signal.SIGSTOP)

    def thaw_nats(self):
        with suppress(ProcessLookupError):
            os.killpg(self.nats.process.pid, signal.SIGCONT)

    def close(self):
        self.proxy.heal()
        self.weaver.close()
        self.thaw_nats()
        asyncio.run(self.nats.stop())
        self.proxy.close()


def insist(client, run, values, *, job=None, seconds=60):
    """Set controls as soon as commands are taken again; the result, which must be applied."""
    until = time.monotonic() + seconds
    while True:
        try:
            result = client.set(run, values, job=job)
        except CommandError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            assert result.state == "applied", result
            return result


@contextmanager
def weaving(folder, *arguments, **environment):
    """A `weavelet up` with its own nats-server."""
    weaver = Weaver(folder, *arguments, **environment)
    try:
        weaver.start()
        yield weaver
    finally:
        weaver.close()


@contextmanager
def staged(folder, **options):
    """A stage on which everything runs."""
    stage = Stage(folder, **options)
    try:
        stage.weaver.start()
        yield stage
    finally:
        stage.close()
