"""The Hugging Face Trainer: steered after every update step by a callback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import weavelet
from weavelet.integrations.distributed import on_any_rank
from weavelet.integrations.torch import Binding, bind

try:
    from transformers import (
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )
    from transformers.trainer_callback import ExportableState
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
except ImportError as error:
    msg = (
        "weavelet.integrations.transformers needs Transformers, which cannot be imported here: "
        "pip install 'torchloom-weavelet[transformers]'"
    )
    raise ImportError(msg, name=error.name) from error

__all__ = ["WeaveletCallback"]

_log = logging.getLogger("weavelet")


class WeaveletCallback(TrainerCallback, ExportableState):  # type: ignore[misc]  # unread by mypy
    """Makes `Trainer.train()` visible and steerable, on every rank.

    >>> callback = WeaveletCallback(run="digits")
    >>> @callback.session.handler("dropout")
    ... def set_dropout(value: float) -> None:
    ...     model.dropout.p = value
    >>> Trainer(model, arguments, train_dataset=digits, callbacks=[callback]).train()

    Each `train()` is one life of the session. It polls after each update step, with the Trainer's
    `global_step`, the number of steps done. A stop is the Trainer's own: it ends after that step,
    and saves and evaluates as it does at its end.

    Optimizer and scheduler are bound as by `weavelet.integrations.torch.bind`. Besides, there is

    * the action `checkpoint`: the Trainer saves as soon as the poll has returned; the result is
      where that will be, and the report `checkpoint` says when it is written;
    * the action `evaluate`, where the arguments have an `eval_strategy`: the Trainer evaluates as
      soon as the poll has returned, and its metrics come as reports.

    Reported are `lr`, the rate in use, at every step, since the Trainer's own `learning_rate` is
    that of the schedule; and, by rank 0, what the Trainer logs, every `logging_steps`.

    The values of all controls are in every checkpoint and come back where training resumes from it,
    with or without `restore_callback_states_from_checkpoint`; with it, the Trainer makes a callback
    anew, from the options that JSON can hold.

    The Trainer tells callbacks of no exception. One that ends the script is seen all the same;
    where it is caught, the session ends with the next `train()`, or with the `with` block of a
    session that is handed in.

    Args:
        replica_id: As in `weavelet.session`.
        session: A session that you start and stop. Default: the active one, else a new one.
        options: The other arguments of `weavelet.session`.
    """

    def __init__(
        self,
        replica_id: str | None = None,
        *,
        session: weavelet.Weavelet | None = None,
        **options: Any,
    ) -> None:
        self._replica_id = replica_id
        self._options = options
        self._session = session
        self._runs_session = False
        self._training = False
        self._apart = False
        self._binding: Binding | None = None
        self._section = ExitStack()
        self._folder = Path()
        self._step = 0
        self._save_asked = False
        self._evaluation_asked = False
        self.restored: dict[str, Any] | None = None
        """What a checkpoint says of the session; taken up by the training that begins."""

    @property
    def session(self) -> weavelet.Weavelet:
        """The session; found or made when it is first asked for, when the rank is known."""
        active = weavelet.current()
        if self._session is None and active is not None:
            for owner in self._options.get("controls", ()):
                active.register(owner)
            self._session = active
        if self._session is None:
            options = {"on_stop": "flag", **self._options}
            self._session = weavelet.session(self._replica_id, **options)
            self._runs_session = True
        return self._session

    def state(self) -> dict[str, Any]:
        """What the Trainer keeps of this in a checkpoint."""
        options = {"replica_id": self._replica_id, **self._options}
        plain = {name: each for name, each in options.items() if isinstance(each, str)}
        restored = self.session.state_dict() if self._training else None
        return {"args": plain, "attributes": {"restored": restored}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The Trainer says nothing of a training that raised, or ran out of memory to begin again.
        self._end("train() was left by an exception")
        self._folder, self._step = Path(args.output_dir), state.global_step
        agreement = self.session._agreement  # noqa: SLF001  also where it was handed in
        self._apart = agreement == "off" and args.world_size > 1
        # Ranks that decide each for itself would not save and evaluate together.
        if not self._apart:
            self._declare(can_evaluate=args.eval_strategy != "no")
        self._bind(kwargs.get("optimizer"), kwargs.get("lr_scheduler"))
        self._restore(state)
        if self._runs_session:
            self.session.start()
        self._training = True

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._section.close()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self._step = state.global_step
        with suppress(weavelet.StopTraining):  # a session handed in may raise what the flag says
            self.session.poll(self._step)
        self.session.report(self._step, lr=kwargs["optimizer"].param_groups[0]["lr"])
        control.should_training_stop |= self._is_told_to_stop(args)
        control.should_save |= self._save_asked
        control.should_evaluate |= self._evaluation_asked
        self._enter_section(control)
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._enter_section(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._evaluation_asked = False

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._save_asked = False
        if state.is_world_process_zero:
            self.session.report(state.global_step, checkpoint=self._checkpoint())

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._training and state.is_world_process_zero:
            self.session.report(state.global_step, **(logs or {}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._end()

    def _is_told_to_stop(self, args: TrainingArguments) -> bool:
        told = self.session.stop_requested
        # Else each rank would hear of it at a step of its own, and the others wait for it.
        return on_any_rank(told, args.device) if self._apart else told

    def _declare(self, *, can_evaluate: bool) -> None:
        def checkpoint() -> str:
            """Let the Trainer save after this poll; returns where that will be."""
            self._save_asked = True
            return self._checkpoint()

        def evaluate() -> str:
            """Let the Trainer evaluate after this poll; the metrics come as reports."""
            self._evaluation_asked = True
            return f"evaluated after step {self._step}; the metrics come as reports"

        for action in (checkpoint, evaluate) if can_evaluate else (checkpoint,):
            with suppress(ValueError):  # an action of that name of the user's own stays
                self.session.action()(action)

    def _bind(self, optimizer: Any, scheduler: Any) -> None:
        # Under a GradScaler, Accelerate keeps the step that the optimizer had when prepared.
        switch = False if getattr(optimizer, "scaler", None) is not None else None
        try:
            self._binding = bind(
                self.session, optimizer=optimizer, scheduler=scheduler, switch=switch
            )
        except (TypeError, ValueError) as error:
            _log.warning("the optimizer of this training cannot be steered: %s", error)

    def _restore(self, state: TrainerState) -> None:
        """Take up what the checkpoint says that this training resumes from."""
        name = type(self).__name__
        # Without an entry, as in a checkpoint from before weavelet, the Trainer could not save.
        stored = state.stateful_callbacks.setdefault(name, self.state())
        restored, self.restored = self.restored, None
        if restored is None and isinstance(stored, dict):
            restored = stored["attributes"].get("restored")
        if restored is not None and state.global_step:
            self.session.load_state_dict(restored, strict=False)

    def _checkpoint(self) -> str:
        return str(self._folder / f"{PREFIX_CHECKPOINT_DIR}-{self._step}")

    def _enter_section(self, control: TrainerControl) -> None:
        """Say what the Trainer is about to do; until the next step no poll is a hang."""
        self._section.close()
        if control.should_evaluate:
            self._section.enter_context(self.session.section("evaluation"))
        elif control.should_save:
            self._section.enter_context(self.session.section("checkpoint"))

    def _end(self, error: str | None = None) -> None:
        self._section.close()
        self._save_asked = self._evaluation_asked = False
        if self._training and self._runs_session:
            self.session.stop(error)
        self._training = False
        if self._binding is not None:
            self._binding.close()
            self._binding = None
