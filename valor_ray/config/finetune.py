"""Settings of the grounding loop's second half: fine-tuning the detector on the boxes that a verifier has confirmed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from valor_ray.config.section import DiskPath, Section


class FinetuneConfig(Section):
    """GroundingDINO on a mined set, with replay, averaged weights, and a gate (paper, section 3.2)."""

    mined: DiskPath | None = Field(
        None,
        description="run folder of `valor mine`, or a dataset folder that it exported; null = tabletop scenes are "
        "mined first, into RUN/mined",
    )
    epochs: int = Field(
        10, ge=1, description="passes over the mined pictures, where `steps` is null; paper: 10"
    )
    steps: int | None = Field(None, ge=1, description="optimizer steps; null = as many as the epochs make")
    batch: int = Field(2, ge=1, description="mined pictures a step and process; paper: 2 a GPU")
    workers: int = Field(1, ge=1, description="learner processes (Ray Train)")
    num_gpus: float = Field(0, ge=0, description="GPUs per learner process")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a learner process; null = torch's choice"
    )
    learning_rate: float = Field(1e-5, gt=0, description="AdamW, highest; paper: 1e-5")
    final_learning_rate: float = Field(1e-6, ge=0, description="at the end of the cosine; paper: 1e-6")
    backbone_rate: float = Field(
        0.1,
        gt=0,
        description="learning rate of the backbone, as a share of the others', where it learns; as of DETR's kind",
    )
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW; paper: 1e-4")
    max_grad_norm: float = Field(0.1, gt=0, description="gradients are scaled down to this norm; paper: 0.1")
    freeze: tuple[Literal["text", "backbone"], ...] = Field(
        ("text", "backbone"), description="parts that do not learn; paper: both"
    )
    ema: float = Field(
        0.999, ge=0, lt=1, description="share of the averaged weights that a step keeps; 0 = none"
    )
    flip: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of pictures mirrored; not those whose phrases know left from right",
    )
    encoder_loss: Literal["one_to_one", "one_to_many"] = Field(
        "one_to_one",
        description="on the encoder's proposals: as published, or densely, which a tiny detector needs",
    )
    absent: bool = Field(
        True, description="learn from phrases that the verifier says name nothing in the picture"
    )
    hard_negatives: bool = Field(True, description="learn from boxes that the verifier refused")
    further_phrases: int = Field(
        20,
        ge=0,
        description="most phrases of other pictures in a caption: wrong at its targets, else not known",
    )
    replay: float = Field(
        0.5, ge=0, description="replayed pictures a step, as a share of `batch`: rehearsal of what is known"
    )
    replay_loss: Literal["distillation", "boxes"] = Field(
        "distillation",
        description="what is rehearsed: all that the start detector says of a picture, as soft targets, or its boxes "
        "above its threshold, as if they were true",
    )
    replay_weight: float = Field(
        1.0, gt=0, description="of what is rehearsed by distillation, beside the loss of the mined pictures"
    )
    replay_pictures: DiskPath | None = Field(
        None,
        description="folder of unlabelled general pictures, on which what the start detector says is rehearsed; "
        "null = tabletop scenes in the looks it has seen",
    )
    replay_limit: int = Field(400, ge=0, description="most pictures replayed from")
    held_back: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of the mined pictures that choose the weights and are not trained on",
    )
    alphas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.4, 0.55, 0.65, 0.75, 0.85, 1.0),
        min_length=1,
        description="shares of the new weights, the rest start weights, that are tried (WiSE-FT)",
    )
    general: DiskPath | None = Field(
        None,
        description="the gate's labelled set, a COCO instances JSON (the one place with labels, for the gate alone); "
        "null = tabletop scenes in the looks that the shipped detector was trained on",
    )
    general_images: DiskPath | None = Field(
        None, description="folder of its pictures; null = beside the JSON"
    )
    general_limit: int | None = Field(None, ge=1, description="use its first N pictures; null = all")
    gate_limit: float = Field(
        0.2,
        ge=0,
        description="mAP points (of 100) that the general set may lose; more, and nothing is published",
    )
    gate_goal: float = Field(
        0.1,
        ge=0,
        description="mAP points that it should lose at most: a share of the new weights that keeps to it is preferred",
    )
    service: str | None = Field(
        None, min_length=1, description="URL of a running service to wait for after publishing"
    )
    save_every: int = Field(100, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints kept, besides the first")
    seed: int = Field(0, ge=0, description="of order, captions and flips")

    @property
    def replayed(self) -> int:
        """Replayed pictures a step, of all processes: some wherever some are wanted."""
        return max(1, round(self.replay * self.batch * self.workers)) if self.replay else 0

    def number_of_steps(self, pictures: int) -> int:
        """Steps of a run over so many mined pictures, those held back not counted."""
        return self.steps or max(1, self.epochs * pictures // (self.batch * self.workers))
