"""One reporter's calls, each timed: `python reporting.py NAME RHYTHM CALLS`, one JSON array out.

RHYTHM is the length of a step in seconds, between calls; 0 is one call after the other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from measure import Work, until


@contextmanager
def weavelet_healthy():
    import weavelet

    with weavelet.session("reports") as session:
        until(lambda: session.poll() or session._safe_point.position is not None)
        yield lambda step: session.report(step, loss=0.5, accuracy=0.25, lr=1e-3)


@contextmanager
def weavelet_stopped():
    import weavelet

    with weavelet_healthy() as report:
        sidecar = weavelet.current().sidecar_pid
        os.kill(sidecar, signal.SIGSTOP)
        try:
            yield report
        finally:
            os.kill(sidecar, signal.SIGCONT)


@contextmanager
def weavelet_alone():
    import weavelet

    os.environ["WEAVELET_PYTHON"] = "/bin/false"
    with weavelet.session("reports") as session:
        until(lambda: session.sidecar_pid is None)
        session.report(0, loss=0.5)
        yield lambda step: session.report(step, loss=0.5, accuracy=0.25, lr=1e-3)


@contextmanager
def nothing():
    yield lambda step: None


@contextmanager
def trackio():
    os.environ["TRACKIO_DIR"] = str(Path.cwd() / "trackio")
    import trackio

    trackio.init(project="bench")
    yield lambda step: trackio.log({"loss": 0.5, "accuracy": 0.25, "lr": 1e-3}, step=step)
    trackio.finish()


@contextmanager
def tensorboard():
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(Path.cwd()))

    def report(step):
        for tag, value in (("loss", 0.5), ("accuracy", 0.25), ("lr", 1e-3)):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    yield report
    writer.close()


@contextmanager
def wandb():
    import wandb

    run = wandb.init(mode="offline", dir=str(Path.cwd()))
    yield lambda step: run.log({"loss": 0.5, "accuracy": 0.25, "lr": 1e-3}, step=step)
    run.finish()


@contextmanager
def mlflow():
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    with mlflow.start_run():
        yield lambda step: mlflow.log_metrics(
            {"loss": 0.5, "accuracy": 0.25, "lr": 1e-3}, step=step
        )


REPORTERS = {
    each.__name__: each
    for each in (
        weavelet_healthy,
        weavelet_stopped,
        weavelet_alone,
        nothing,
        trackio,
        tensorboard,
        wandb,
        mlflow,
    )
}


def main(name: str, rhythm: float, calls: int) -> None:
    work = Work(rhythm) if rhythm else None
    clock = time.perf_counter_ns
    nanoseconds = []
    answer = os.dup(1)
    os.dup2(2, 1)  # what reporters print is not the answer
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with REPORTERS[name]() as report:
            for step in range(calls // 10 + calls):
                if work is not None:
                    work()
                began = clock()
                report(step)
                nanoseconds.append(clock() - began)
        os.chdir("/")
    os.write(answer, json.dumps(nanoseconds[calls // 10 :]).encode())
    os.close(answer)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
