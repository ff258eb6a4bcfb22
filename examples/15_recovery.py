"""Recovery: a replica is killed in the midst of training, the other is told, and it comes back.

weavelet up
python examples/15_recovery.py
weavelet set 15_recovery lr=0.02
weavelet act 15_recovery fail --replica worker-1

The one that failed resumes from its checkpoint and takes over what was set meanwhile; the other is
told of both, by the weaver, at its safe point.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from multiprocessing import Process, connection, get_context
from pathlib import Path

import torch
from sklearn.datasets import load_digits

import weavelet
from weavelet.integrations.torch import bind

RUN = "15_recovery"
CHECKPOINT_STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    arguments = parser.parse_args()

    context = get_context("spawn")
    job = f"launch-{os.getpid()}"  # the workers are one job, over all their lives

    def start(name: str) -> Process:
        life = context.Process(target=train, args=(name, job, arguments.steps, Path(folder)))
        life.start()
        return life

    with tempfile.TemporaryDirectory() as folder:
        lives = {name: start(name) for name in ("worker-0", "worker-1")}
        while lives:
            connection.wait([life.sentinel for life in lives.values()])
            for name, life in list(lives.items()):
                if life.is_alive():
                    continue
                life.join()
                if life.exitcode == 0:
                    del lives[name]
                else:
                    print(f"{name} ended with {life.exitcode}: starting it again", flush=True)
                    lives[name] = start(name)


def train(name: str, job: str, steps: int, folder: Path) -> None:
    """One life of one worker."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = folder / f"{name}.pt"
    first = 0

    with weavelet.session(name, run=RUN, job=job) as w:
        bind(w, optimizer=optimizer)

        @w.on_notice("replica_failed")
        def others_failed(notice: weavelet.Notice) -> str:
            """Where the others' share would be taken over; here it is only said."""
            print(f"{name}: told that {notice.detail['replicas']} failed", flush=True)
            return "told"

        @w.action("fail", danger=True)
        def fail() -> None:
            """End this process as a broken machine would."""
            os.kill(os.getpid(), signal.SIGKILL)

        if path.exists():
            saved = torch.load(path)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            w.load_state_dict(saved["weavelet"])
            first = saved["step"] + 1
            print(f"{name}: resumed at step {first}", flush=True)
        for step in range(first, steps):
            w.poll(step)
            batch = torch.randint(0, 1500, (32,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss)
            if step % CHECKPOINT_STEPS == 0:
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "weavelet": w.state_dict(),
                    "step": step,
                }
                torch.save(state, path.with_suffix(".new"))
                path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    main()
