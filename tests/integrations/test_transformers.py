"""The Hugging Face Trainer: the contract of all adapters, and what is the Trainer's own."""

from __future__ import annotations

import importlib
import json
import sys
from typing import ClassVar

import pytest

import weavelet
from harness.contract import PRELUDE, Contract, living
from weavelet.testing import LocalSession, local_session

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from weavelet.integrations.torch import bind  # noqa: E402  where torch is
from weavelet.integrations.transformers import WeaveletCallback  # noqa: E402  the same

SCRIPT = (
    PRELUDE
    + """
from transformers import Trainer, TrainingArguments

from weavelet.integrations.transformers import WeaveletCallback


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x, y):
        return {"loss": torch.nn.functional.mse_loss(self.inner(x), y)}


def collate(rows):
    x, y = zip(*rows)
    return {"x": torch.stack(x), "y": torch.stack(y)}


arguments = TrainingArguments(
    FOLDER,
    max_steps=10**6,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    learning_rate=LR,
    lr_scheduler_type="constant",
    optim="sgd",
    logging_steps=5,
    save_strategy="no",
    remove_unused_columns=False,
    use_cpu=True,
    ddp_backend="gloo" if WORLD > 1 else None,
    disable_tqdm=True,
    report_to=[],
)
trainer = Trainer(
    Net(),
    arguments,
    data_collator=collate,
    train_dataset=examples(),
    callbacks=[WeaveletCallback(controls=[probe])],
)
trainer.train(resume_from_checkpoint=RESUME)
say(ended=steps.taken)
if WORLD > 1:
    torch.distributed.destroy_process_group()
"""
)


class TestTrainer(Contract):
    """A Trainer that accumulates gradients over two batches."""

    script = SCRIPT
    environment: ClassVar = {"HF_HUB_OFFLINE": "1"}


def test_ranks_that_do_not_agree_stop_together_all_the_same(weaver, tmp_path):
    """With agreement off a stop of one rank is a stop of all, after the same step."""
    script = SCRIPT.replace("controls=[probe]", 'controls=[probe], agreement="off"')
    options = {"job": "apart", "ranks": 2, "wanted": ("lr", "gain"), **TestTrainer.environment}
    with living(weaver, script, tmp_path, **options) as life:
        assert "applied" in [each.outcome for each in life.ask_to_stop().outcomes]
        ended = life.ended()
    assert ended[0] == ended[1]


class Net(torch.nn.Module):
    """One layer in the shape that the Trainer wants."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Linear(4, 1)
        self.fails_at = None
        self.calls = 0

    def forward(self, x, y):
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("bad batch")
        return {"loss": torch.nn.functional.mse_loss(self.inner(x), y)}


def rows():
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    return [{"x": each, "y": each.sum().reshape(1)} for each in x]


def collate(batch):
    return {key: torch.stack([each[key] for each in batch]) for key in ("x", "y")}


class Operator(transformers.TrainerCallback):
    """Gives commands after given steps: `{step: [function, ...]}`."""

    def __init__(self, commands):
        self.commands = commands

    def on_step_end(self, args, state, control, **kwargs):
        for command in self.commands.get(state.global_step, ()):
            command()


def local_callback(**options):
    """A callback whose session starts no process."""
    callback = WeaveletCallback(**options)
    callback._session, callback._runs_session = LocalSession(on_stop="flag", **options), True
    return callback


def trainer(folder, callback, commands=None, *, net=None, **options):
    """A Trainer of six steps; the commands come before the poll of their step."""
    options = {
        "max_steps": 6,
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "logging_steps": 1,
        **options,
    }
    arguments = transformers.TrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        optim="sgd",
        label_names=["y"],
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
        **options,
    )
    return transformers.Trainer(
        net or Net(),
        arguments,
        data_collator=collate,
        train_dataset=rows(),
        eval_dataset=rows(),
        callbacks=[each for each in (commands and Operator(commands), callback) if each],
    )


def told(w):
    return [(each.kind, each.step) for each in w.outcomes]


def values(w, name):
    """What was reported under a name, by step."""
    return {each.step: each.metrics[name] for each in w.samples if name in each.metrics}


def test_stop_is_the_trainers_own(tmp_path):
    """Training ends after the step of the stop, and train() returns as always."""
    callback = local_callback()
    w = callback.session
    done = trainer(tmp_path, callback, {3: [w.request_stop]}).train()
    assert done.global_step == 3
    assert told(w) == [("applied", 3)]
    assert w.stopped
    assert weavelet.current() is None


def test_a_session_around_it_is_used(tmp_path):
    """The active session, made to raise at a stop, lets the Trainer end, and goes on."""

    class Knob:
        @weavelet.handler("gain")
        def set_gain(self, value: float) -> None:
            """Nothing depends on it."""

    with local_session() as w:
        callback = WeaveletCallback(controls=[Knob()])
        commands = {2: [lambda: w.push(gain=2.0)], 3: [w.request_stop]}
        assert trainer(tmp_path, callback, commands).train().global_step == 3
        assert told(w) == [("applied", 2), ("applied", 3)]
        assert callback.session is weavelet.current() is w


@pytest.mark.parametrize("batches", [1, 2])
def test_steps_are_update_steps(tmp_path, batches):
    """However many batches a step takes, there is one poll for it, with the count of steps."""
    callback = local_callback()
    w = callback.session
    net = Net()
    commands = {2: [lambda: w.push(lr=0.05)]}
    made = trainer(tmp_path, callback, commands, net=net, gradient_accumulation_steps=batches)
    made.train()
    assert net.calls == 6 * batches
    assert told(w) == [("applied", 2)]
    assert values(w, "lr") == {1: 0.1, **dict.fromkeys(range(2, 7), 0.05)}


def test_checkpoint_lies_where_its_result_says(tmp_path):
    """The Trainer saves after the poll; the result is its folder, and a report tells of it."""
    callback = local_callback()
    w = callback.session
    trainer(tmp_path, callback, {3: [lambda: w.act("checkpoint")]}).train()
    (outcome,) = w.outcomes
    assert outcome.result == str(tmp_path / "checkpoint-3")
    assert values(w, "checkpoint") == {3: outcome.result}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
    assert (tmp_path / "checkpoint-3/optimizer.pt").is_file()


def test_evaluate_reports_its_metrics(tmp_path):
    """The Trainer evaluates after the poll, once, and the metrics come as reports."""
    callback = local_callback()
    w = callback.session
    commands = {3: [lambda: w.act("evaluate")]}
    trainer(tmp_path, callback, commands, eval_strategy="steps", eval_steps=100).train()
    assert told(w) == [("applied", 3)]
    assert 3 in values(w, "eval_loss")
    assert 4 not in values(w, "eval_loss")


def test_evaluate_is_not_offered_where_it_would_fail(tmp_path):
    """Without an eval_strategy the Trainer may have no data to evaluate on."""
    callback = local_callback()
    w = callback.session
    trainer(tmp_path, callback, {3: [lambda: w.act("evaluate")]}).train()
    assert told(w) == [("rejected", 3)]


def test_a_checkpoint_is_not_lost_to_the_best_one(tmp_path):
    """Where the Trainer keeps only its best, one that was asked for comes a step later."""
    callback = local_callback()
    w = callback.session
    made = trainer(
        tmp_path,
        callback,
        {4: [lambda: w.act("checkpoint")]},
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="best",
        metric_for_best_model="loss",
        greater_is_better=True,
    )
    made.train()
    assert "checkpoint-5" in {path.name for path in tmp_path.iterdir()}


def test_lr_is_the_rate_in_use(tmp_path):
    """What is set composes with the schedule; the report shows what the optimizer has."""
    callback = local_callback()
    w = callback.session
    commands = {2: [lambda: w.push(lr_scale=0.5)]}
    trainer(tmp_path, callback, commands, lr_scheduler_type="linear").train()
    rates = values(w, "lr")
    assert rates[1] == pytest.approx(0.1 * 5 / 6)
    assert rates[3] == pytest.approx(0.5 * 0.1 * 3 / 6)


@pytest.mark.parametrize("restores", [False, True])
def test_resume_brings_the_values_back(tmp_path, restores):
    """With and without the Trainer's own restoring, the checkpoint's values hold."""

    class Knob:
        value = 1.0

        @weavelet.handler("gain", get=lambda self: self.value)
        def set_gain(self, value: float) -> None:
            self.value = value

    first = local_callback()
    knob = Knob()
    first.session.register(knob)
    commands = {
        2: [lambda: first.session.push(gain=3.0, lr=0.05)],
        4: [lambda: first.session.act("checkpoint")],
    }
    trainer(tmp_path, first, commands).train()

    again = Knob()
    second = WeaveletCallback(replica_id="local", mode="disabled", controls=[again])
    made = trainer(tmp_path, second, restore_callback_states_from_checkpoint=restores)
    made.train(resume_from_checkpoint=True)
    assert made.optimizer.param_groups[0]["lr"] == 0.05
    (callback,) = [
        each for each in made.callback_handler.callbacks if isinstance(each, WeaveletCallback)
    ]
    assert (callback is second) != restores
    assert again.value == (1.0 if restores else 3.0)


def test_a_checkpoint_from_before_weavelet_can_be_resumed(tmp_path):
    """The Trainer goes on from it, and saves."""
    trainer(tmp_path, None, save_strategy="steps", save_steps=2, max_steps=4).train()
    callback = local_callback()
    w = callback.session
    made = trainer(tmp_path, callback, {5: [lambda: w.act("checkpoint")]})
    made.train(resume_from_checkpoint=True)
    assert (
        json.loads((tmp_path / "checkpoint-5/trainer_state.json").read_text())[
            "stateful_callbacks"
        ]["WeaveletCallback"]["attributes"]["restored"]["values"]["lr"]
        == 0.1
    )


def test_train_twice_is_two_lives(tmp_path):
    """The second training can be steered like the first; nothing of the first is set again."""
    callback = local_callback()
    w = callback.session
    made = trainer(tmp_path, callback, {2: [lambda: w.push(lr_scale=0.5)]})
    made.train()
    first = w.incarnation
    assert told(w) == [("applied", 2)]
    made.train()
    assert w.incarnation != first
    assert told(w) == [("applied", 2)]
    assert values(w, "lr")[6] == 0.05


def test_a_training_that_raised_can_be_repeated(tmp_path):
    """The life that the exception left open ends when the next begins."""
    callback = local_callback()
    w = callback.session
    net = Net()
    net.fails_at = 3
    made = trainer(tmp_path, callback, {2: [lambda: w.push(lr=0.05)]}, net=net)
    with pytest.raises(RuntimeError, match="bad batch"):
        made.train()
    first = w.incarnation
    assert made.train().global_step == 6
    assert w.incarnation != first
    assert told(w) == [("applied", 2)]
    assert weavelet.current() is None


def test_what_cannot_be_bound_is_said(tmp_path, caplog):
    """An optimizer that is none of torch's leaves the rest of the session as it is."""
    callback = local_callback()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "weavelet.integrations.transformers.bind", lambda *_, **__: bind(None, optimizer=1)
        )
        trainer(tmp_path, callback).train()
    assert "cannot be steered: optimizer must be" in caplog.text


def test_an_action_of_ones_own_stays(tmp_path):
    """A session that has its own `checkpoint` keeps it."""
    callback = local_callback()
    w = callback.session

    @w.action("checkpoint")
    def save() -> str:
        return "mine"

    trainer(tmp_path, callback, {2: [lambda: w.act("checkpoint")]}).train()
    assert w.outcomes[-1].result == "mine"
    assert not list(tmp_path.iterdir())


def test_the_missing_extra_is_named(monkeypatch):
    """Without Transformers the import says what to install."""
    name = "weavelet.integrations.transformers"
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'torchloom-weavelet\[transformers\]'"):
        importlib.import_module(name)
