"""Optimizers to steer: two groups, gradients that repeat, and commands that end in an outcome."""

from __future__ import annotations

import io

import torch

torch.set_num_threads(1)


def parameters(dtype=torch.float32):
    """The same four parameters each time, in two lists."""
    generator = torch.Generator().manual_seed(0)
    made = [
        torch.nn.Parameter(torch.randn(size, generator=generator).to(dtype))
        for size in (3, 4, 2, 5)
    ]
    return made[:2], made[2:]


def two_groups(kind=torch.optim.SGD, rates=(0.1, 0.02), **options):
    """An optimizer of two groups, the first without a name, the second called head."""
    first, second = parameters()
    groups = [{"params": first, "lr": rates[0]}, {"params": second, "lr": rates[1], "name": "head"}]
    return kind(groups, **options)


def one_group(kind=torch.optim.SGD, **options):
    """An optimizer of one group."""
    first, second = parameters()
    return kind([*first, *second], **options)


def fill_gradients(optimizer, step):
    """Gradients that depend on the step alone."""
    generator = torch.Generator().manual_seed(1000 + step)
    for group in optimizer.param_groups:
        for param in group["params"]:
            param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)


def train(optimizer, *schedulers, steps=1, start=0):
    """Some optimizer steps, each followed by one of every scheduler."""
    for step in range(start, start + steps):
        fill_gradients(optimizer, step)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def command(w, values, step=0):
    """Set controls at the next poll; the outcome."""
    w.push(values)
    w.poll(step)
    return w.outcomes[-1]


def value(w, name):
    """What a control says that it is."""
    return next(spec.value for spec in w._registry.specs() if spec.name == name)


def names(w):
    """All controls."""
    return {spec.name for spec in w._registry.specs() if spec.kind == "control"}


def through_a_file(*states):
    """States as they come back from a checkpoint file that is loaded with care."""
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
