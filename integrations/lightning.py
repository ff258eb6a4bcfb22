"""Lightning: `Trainer.fit()` steered after every optimizer step, by a callback or a mixin."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

import weavelet
from weavelet.integrations.torch import Binding, bind

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    try:
        # The two are one framework under two names, and their classes do not mix.
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            from pytorch_lightning import Callback, LightningModule, Trainer
        else:
            from lightning.pytorch import Callback, LightningModule, Trainer
    except ImportError as error:
        msg = (
            "weavelet.integrations.lightning needs Lightning, which cannot be imported here: "
            "pip install 'torchloom-weavelet[lightning]'"
        )
        raise ImportError(msg, name=error.name) from error

__all__ = ["WeaveletCallback", "WeaveletModule"]

_log = logging.getLogger("weavelet")


class WeaveletCallback(Callback):
    """Makes `Trainer.fit()` visible and steerable, on every rank.

    >>> trainer = Trainer(callbacks=[WeaveletCallback(run="digits")])
    >>> trainer.fit(model, loader)

    Each `fit()` is one life of the session. It polls after each optimizer step, with the Trainer's
    `global_step`, the number of steps done, however many batches one step takes. A stop is the
    Trainer's own: `should_stop`, after that step and whatever `min_steps` and `min_epochs` say.

    Optimizers and schedulers are bound as by `weavelet.integrations.torch.bind`; several optimizers
    by their place, as `optimizer0.lr`. Methods of the LightningModule that are marked with
    `@weavelet.handler` or `@weavelet.action` are controls. The action `checkpoint` calls
    `Trainer.save_checkpoint()` and returns the path. The ranks save together: address all of them.

    Reported are `loss` and the rates at every step; what was logged, where it is new, every
    `log_every_n_steps` and at the end of an epoch and a validation. Nothing waits for a GPU, except
    for what was logged with `prog_bar=True`, which Lightning itself reads.

    The values of all controls are in every checkpoint of the Trainer, and come back with
    `fit(ckpt_path=...)`.

    Args:
        replica_id: As in `weavelet.session`.
        session: A session that you start and stop. Default: the active one, else a new one.
        checkpoints: Folder for the action `checkpoint`. Default: that of the Trainer's own
            checkpoints, else `checkpoints` in its `default_root_dir`.
        options: The other arguments of `weavelet.session`.
    """

    def __init__(
        self,
        replica_id: str | None = None,
        *,
        session: weavelet.Weavelet | None = None,
        checkpoints: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self._replica_id = replica_id
        self._options = options
        self._given = session
        self._checkpoints = checkpoints
        self._session: weavelet.Weavelet | None = None
        self._runs_session = False
        self._bindings: list[Binding] = []
        self._undo = ExitStack()
        self._section = ExitStack()
        self._polled: int | None = None
        self._rates: dict[str, Any] = {}
        self._seen: dict[str, Any] = {}
        self._restored: Mapping[str, Any] | None = None
        self._state: dict[str, Any] = {}

    @property
    def session(self) -> weavelet.Weavelet | None:
        """The session of the fit under way; None outside of one."""
        return self._session

    # The fit.

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._end(None)
        self._restored = None
        session = self._given or weavelet.current()
        self._runs_session = session is None
        self._session = session = session or self._make_session()
        if not self._runs_session:
            for owner in self._options.get("controls", ()):
                session.register(owner)
        session.register(pl_module, strict=False)
        if self._options.get("agreement") != "off" or trainer.world_size == 1:
            self._offer_checkpoint(trainer, session)
        self._show_saving(trainer, session)
        if self._runs_session:
            session.start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._session is None:
            return
        self._bind(trainer, self._session)
        if self._restored is not None:
            self._session.load_state_dict(self._restored, strict=False)
            self._restored = None
        self._polled = None
        self._poll(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._session is not None:
            self._rates = {
                f"{prefix}lr": _rate(each) for prefix, each in _named(trainer.optimizers)
            }

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # The other batches of an accumulated step are none of their own.
        if self._session is None or trainer.global_step == self._polled:
            return
        metrics: dict[str, Any] = {**_loss(outputs, trainer.accumulate_grad_batches), **self._rates}
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set, not declared
        if every and trainer.global_step % every == 0:
            metrics.update(self._logged(trainer))
        self._session.report(self._polled, **metrics)
        self._poll(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report_logged(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._session is not None:
            self._section.enter_context(self._session.section("validation"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._section.close()
        if not trainer.sanity_checking:
            self._report_logged(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end(None)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._end(exception)

    # Checkpoints of the Trainer.

    def state_dict(self) -> dict[str, Any]:
        """What the Trainer keeps of this in a checkpoint; of the last fit, outside of one."""
        return self._state if self._session is None else self._session.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up when the optimizers are there."""
        self._restored = state_dict

    # Inside.

    def _make_session(self) -> weavelet.Weavelet:
        # Only now, as the process group of Lightning tells the rank where no launcher does.
        options = {"on_stop": "flag", **self._options}
        return weavelet.session(self._replica_id, **options)

    def _offer_checkpoint(self, trainer: Trainer, session: weavelet.Weavelet) -> None:
        def checkpoint() -> str:
            """Save by the Trainer, as its own checkpoints are; returns the path."""
            path = self._folder(trainer) / f"step-{trainer.global_step}.ckpt"
            trainer.save_checkpoint(path)
            return str(path)

        with suppress(ValueError):  # the user's own of this name stays
            session.action()(checkpoint)

    def _folder(self, trainer: Trainer) -> Path:
        if self._checkpoints is not None:
            return Path(self._checkpoints)
        own = getattr(trainer.checkpoint_callback, "dirpath", None)
        return Path(own or Path(trainer.default_root_dir) / "checkpoints")

    def _show_saving(self, trainer: Trainer, session: weavelet.Weavelet) -> None:
        """Have every save of the Trainer be a section: there is no hook after one."""
        save = trainer.save_checkpoint

        @functools.wraps(save)
        def save_checkpoint(*args: Any, **kwargs: Any) -> None:
            with session.section("checkpoint"):
                save(*args, **kwargs)

        vars(trainer)["save_checkpoint"] = save_checkpoint
        self._undo.callback(vars(trainer).pop, "save_checkpoint", None)

    def _bind(self, trainer: Trainer, session: weavelet.Weavelet) -> None:
        schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
        for prefix, optimizer in _named(trainer.optimizers):
            own = [each for each in schedulers if each.optimizer is optimizer]
            try:
                binding = bind(session, optimizer=optimizer, scheduler=own, prefix=prefix)
            except (TypeError, ValueError) as error:
                _log.warning("an optimizer of this fit cannot be steered: %s", error)
            else:
                self._bindings.append(binding)

    def _poll(self, trainer: Trainer) -> None:
        session = self._session
        if session is None:
            return
        self._polled = trainer.global_step
        with suppress(weavelet.StopTraining):  # a session handed in may raise what the flag says
            session.poll(self._polled)
        if self._is_told_to_stop(trainer, session):
            self._stop(trainer)

    def _is_told_to_stop(self, trainer: Trainer, session: weavelet.Weavelet) -> bool:
        if self._options.get("agreement") == "off":
            # Then each rank hears of it at a step of its own.
            return trainer.strategy.reduce_boolean_decision(session.stop_requested, all=False)
        return session.stop_requested

    def _stop(self, trainer: Trainer) -> None:
        """Stop as the Trainer does. All ranks come here at the same step."""
        loop = trainer.fit_loop
        self._undo.callback(setattr, loop.epoch_loop, "min_steps", loop.epoch_loop.min_steps)
        # Lightning sets min_epochs anew at each fit, but not min_steps.
        loop.min_epochs = loop.epoch_loop.min_steps = None
        trainer.should_stop = True

    def _report_logged(self, trainer: Trainer) -> None:
        if self._session is not None and (logged := self._logged(trainer)):
            self._session.report(trainer.global_step, **logged)

    def _logged(self, trainer: Trainer) -> dict[str, Any]:
        """What was logged since the last time. The Trainer keeps the older, the very same."""
        logged = dict(trainer.callback_metrics)
        fresh = {name: each for name, each in logged.items() if self._seen.get(name) is not each}
        self._seen = logged
        return fresh

    def _end(self, error: BaseException | None) -> None:
        session, self._session = self._session, None
        self._section.close()
        self._undo.close()
        if session is not None:
            self._state = session.state_dict()
            if self._runs_session:
                session.__exit__(type(error) if error else None, error, None)
        while self._bindings:
            self._bindings.pop().close()
        self._seen = {}


class WeaveletModule:
    """Makes a LightningModule steerable wherever it is fitted, without a callback.

    >>> class Digits(WeaveletModule, LightningModule):
    ...     @weavelet.handler
    ...     def dropout(self, value: float) -> None:
    ...         self.drop.p = value

    Its marked methods are controls. A `WeaveletCallback` of the Trainer is used, so that there its
    options can be said; without one, this brings one of its own.

    A class that defines `configure_callbacks` adds to what `super().configure_callbacks()` gives.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found: Any = cls.configure_callbacks
        if found is LightningModule.configure_callbacks:
            msg = (
                f"{cls.__name__} would not be steered: WeaveletModule must come before "
                f"LightningModule, as in `class {cls.__name__}(WeaveletModule, LightningModule)`"
            )
            raise TypeError(msg)

    def configure_callbacks(self) -> list[Callback]:
        """What Lightning asks for when a fit begins; adds a WeaveletCallback if there is none."""
        given = super().configure_callbacks()  # type: ignore[misc]  # LightningModule's
        callbacks = list(given) if isinstance(given, (list, tuple)) else [given]
        present: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # as above
        if not any(isinstance(each, WeaveletCallback) for each in present):
            callbacks.append(WeaveletCallback())
        return callbacks


def _rate(optimizer: Optimizer) -> Any:
    """The learning rate of its first group; where that is a tensor, not read but copied."""
    rate = optimizer.param_groups[0]["lr"]
    return rate.clone() if isinstance(rate, torch.Tensor) else rate


def _named(optimizers: list[Optimizer]) -> Iterator[tuple[str, Optimizer]]:
    """Optimizers with the prefix of their controls."""
    for index, optimizer in enumerate(optimizers):
        yield ("" if len(optimizers) == 1 else f"optimizer{index}."), optimizer


def _loss(outputs: Any, share: int) -> dict[str, Any]:
    """The loss that training_step returned, which Lightning has divided."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return {"loss": loss * share} if isinstance(loss, torch.Tensor) else {}
