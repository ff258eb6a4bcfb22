"""Federated averaging: clients with data of their own, each steered by itself.

weavelet up
python examples/14_federated.py
weavelet set 14_federated lr=0.01 --replica client-1
weavelet pause 14_federated --replica client-2

A client that is paused sends nothing, and the others go on without it.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import multiprocessing

import weavelet
from weavelet.integrations.torch import bind

State = dict[str, torch.Tensor]
RUN = "14_federated"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2_000)
    arguments = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    job = f"launch-{os.getpid()}"  # the clients are one job
    model = torch.nn.Linear(64, 10)
    clients = {}
    for number in range(arguments.clients):
        ours, theirs = context.Pipe()
        context.Process(
            target=train, args=(job, number, arguments.clients, theirs, answers), daemon=True
        ).start()
        clients[number] = ours
        ours.send(model.state_dict())
    for _ in range(arguments.rounds * arguments.clients):
        number, theirs_now = answers.get()
        if theirs_now is None:
            del clients[number]
            if not clients:
                break
            continue
        mix(model, theirs_now, 1 / arguments.clients)
        clients[number].send(model.state_dict())
    for ours in clients.values():
        ours.send(None)
    print(f"accuracy {accuracy(model):.3f}")


def train(job: str, number: int, clients: int, link: Any, answers: Any) -> None:
    """One client: take the model, train it on local data, send it back."""
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.tensor(digits.data[number:1500:clients], dtype=torch.float32) / 16
    labels = torch.tensor(digits.target[number:1500:clients])
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = 0
    with weavelet.session(f"client-{number}", run=RUN, job=job) as w:
        bind(w, optimizer=optimizer)
        while (state := link.recv()) is not None:
            model.load_state_dict(state)
            for _ in range(10):
                w.poll(step)
                batch = torch.randint(0, len(images), (32,))
                loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                w.report(step, loss=loss)
                step += 1
            answers.put((number, model.state_dict()))
    if w.stopped:
        answers.put((number, None))


def mix(model: torch.nn.Linear, other: State, weight: float) -> None:
    """Move the model towards a client's."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.lerp_(other[name], weight)


def accuracy(model: torch.nn.Linear) -> float:
    """On the images that no client has."""
    digits = load_digits()
    images = torch.tensor(digits.data[1500:], dtype=torch.float32) / 16
    right = model(images).argmax(1) == torch.tensor(digits.target[1500:])
    return right.float().mean().item()


if __name__ == "__main__":
    main()
