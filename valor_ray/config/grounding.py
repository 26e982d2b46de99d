"""Settings of the grounding loop: mining boxes for the detector, without labels (paper, section 3.2)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from valor_ray.config.section import Section


class GroundingConfig(Section):
    """Phrases from the policy's programs, over-prediction by the detector, checks by a vision verifier."""

    queries: str | None = Field(
        None,
        description="queries with pictures to mine: JSON, CSV, parquet, a folder, hf:NAME, an fsspec URL; null = "
        "tabletop scenes in the looks that the detector has not seen",
    )
    query_limit: int | None = Field(
        800, ge=1, description="use the first N queries; two queries a tabletop scene"
    )
    seed: int = Field(0, ge=0, description="of rendered scenes, their order, and the programs' sampling")
    box_threshold: float = Field(
        0.1, ge=0, le=1, description="lowest score of a candidate, of its box and its words; paper: 0.1"
    )
    workers: int = Field(1, ge=1, description="actors that take pictures through detector and checks")
    boxes_per_picture: int = Field(
        20, ge=1, le=100, description="most numbered boxes in one annotated picture; more go to a further one"
    )
    crop_padding: float = Field(0.1, ge=0, description="of a crop, as a share of its box's sides; paper: 0.1")
    crop_side: int = Field(640, ge=64, description="long side of a crop as it is sent, px; paper: 640")
    picture_format: Literal["jpeg", "png"] = Field(
        "jpeg", description="of the pictures sent; PNG costs about ten times the CPU"
    )
    ask_again: int = Field(
        1, ge=0, description="further requests after an answer that leaves boxes out, repeats or invents some"
    )
    presence: bool = Field(
        True,
        description="ask of each picture which phrases without a confirmed box can be seen in it: only what the "
        "verifier says is not there is absent in the set. false: one request a picture less, nothing is absent",
    )
    audit_every: int = Field(
        50, ge=0, description="one canary with known verdicts per so many pictures; 0 = none"
    )
    audit_alarm: float = Field(
        0.7, ge=0, le=1, description="warn when the agreement with the canaries is surely below this"
    )
    all_rejected: Literal["negative", "leave_out"] = Field(
        "leave_out",
        description="a picture of which the verifier says that nothing of what was asked is in it: a negative of the "
        "set, or left out. Pictures with neither a confirmed box nor that verdict are left out always",
    )
