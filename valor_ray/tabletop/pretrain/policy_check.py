"""Does the policy copy what it is asked about? Sampled replies, read without running them."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import torch

from valor_ray.program.parse import parse_reply
from valor_ray.tabletop.pretrain.policy_text import prompt_ids
from valor_ray.tabletop.questions import FAMILIES, Blueprint, wording
from valor_ray.tabletop.replies.flaws import FLAWS
from valor_ray.tabletop.replies.intent import intent
from valor_ray.tabletop.replies.mixture import MIXTURE
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tools import split_phrases

_NOUNS = ("box", "ball", "cylinder", "cone", "object")
_REPLY = 320  # tokens, at most


def named(code: str) -> set[str] | None:
    """The phrases that a program's texts name, VQA's questions left out; None when the program does not parse."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return None
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {p for text in texts if "?" not in text for p in split_phrases(text) if p.split()[-1] in _NOUNS}


def fits(code: str, blueprint: Blueprint) -> bool:
    """Does the program parse and name exactly the phrases of the right reply or of one of the family's habits?"""
    right = intent(blueprint)
    intents = [right, *(FLAWS[kind].change(right) for kind, _share in MIXTURE[blueprint.family])]
    return named(code) in [{it.a, it.b} - {""} for it in intents]


@torch.no_grad()
def check_samples(
    model: Any, tokenizer: Any, device: str, per_family: int = 16, seed: int = 9
) -> dict[str, Any]:
    """Replies at T 0.7, top-p 0.8, top-k 20 to drawn questions of the training part.

    Returns n, well_formed (share), phrases (share of the well-formed for which `fits` holds) and the latter by family.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    formed: dict[str, list[bool]] = {}
    for family in FAMILIES:
        asked = [free_blueprint(rng, family) for _ in range(per_family)]
        replies = _sampled(model, tokenizer, device, [wording(b, rng) for b in asked])
        parsed = [(parse_reply(reply), b) for reply, b in zip(replies, asked, strict=True)]
        formed[family] = [fits(reply.code, b) for reply, b in parsed if reply.well_formed]
    n, good = per_family * len(FAMILIES), sum(map(len, formed.values()))
    return {
        "n": n,
        "well_formed": round(good / n, 4),
        "phrases": round(sum(map(sum, formed.values())) / max(good, 1), 4),
        "phrases_by_family": {f: round(sum(marks) / max(len(marks), 1), 3) for f, marks in formed.items()},
    }


def _sampled(model: Any, tokenizer: Any, device: str, questions: list[str]) -> list[str]:
    rows = [prompt_ids(tokenizer, question) for question in questions]
    encoded = tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="left").to(device)
    out = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=_REPLY,
        do_sample=True,
        temperature=0.7,
        top_k=20,
        top_p=0.8,
    )
    texts = tokenizer.batch_decode(out[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    return [str(text) for text in texts]
