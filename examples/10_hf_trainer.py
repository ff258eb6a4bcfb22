"""The Trainer of Hugging Face with one callback more.

weavelet up
python examples/10_hf_trainer.py --folder /tmp/digits    # or under torchrun, or accelerate launch
weavelet set 10_hf_trainer lr_scale=0.5 dropout=0.3
weavelet act 10_hf_trainer evaluate                      # the metrics come as reports
weavelet act 10_hf_trainer checkpoint
weavelet stop 10_hf_trainer
python examples/10_hf_trainer.py --folder /tmp/digits --resume
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Annotated

import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments

import weavelet
from weavelet.integrations.transformers import WeaveletCallback


class Classifier(torch.nn.Module):
    """Two layers, in the shape that the Trainer wants: it returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(0.1)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.ReLU(), self.dropout, torch.nn.Linear(64, 10)
        )

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layers(images)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def rows() -> list[dict[str, torch.Tensor]]:
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    return [{"images": image, "labels": label} for image, label in zip(images, labels, strict=True)]


def collate(batch: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([row[name] for row in batch]) for name in ("images", "labels")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--folder", default="trainer")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = Classifier()
    callback = WeaveletCallback()

    @callback.session.handler("dropout", get=lambda: model.dropout.p)
    def set_dropout(value: Annotated[float, weavelet.Meta(ge=0, lt=1)]) -> None:
        """Share of the activations that are dropped."""
        model.dropout.p = value

    digits = rows()
    trainer = Trainer(
        model,
        TrainingArguments(
            arguments.folder,
            max_steps=arguments.steps,
            per_device_train_batch_size=32,
            learning_rate=0.01,
            logging_steps=10,
            eval_strategy="steps",
            eval_steps=1000,
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
        ),
        data_collator=collate,
        train_dataset=digits[:1500],
        eval_dataset=digits[1500:],
        callbacks=[callback],
    )
    done = trainer.train(resume_from_checkpoint=arguments.resume)
    print(f"{done.global_step} steps, dropout {model.dropout.p}", flush=True)


if __name__ == "__main__":
    main()
