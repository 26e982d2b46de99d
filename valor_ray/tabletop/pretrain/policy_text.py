"""Batches of pre-training text for the policy, made ahead in worker processes; the stream does not depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from valor_ray.models.vllm.prompting import chat
from valor_ray.tabletop.replies.mixture import base_text
from valor_ray.tabletop.sample_questions import free_blueprint

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PROMPT = "short"  # prompts/system_short.txt: the text is learnt, so it must not change afterwards
_BLOCK = 16  # batches that are drawn together, so that texts of like length share one

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # ids, attention, labels: each (texts, tokens)


def prompt_ids(tokenizer: Any, question: str) -> list[int]:
    prompt = tokenizer.apply_chat_template(chat(question, PROMPT), add_generation_prompt=True, tokenize=False)
    return list(tokenizer(prompt, add_special_tokens=False)["input_ids"])


def _encoded(tokenizer: Any, question: str, reply: str) -> tuple[list[int], list[int]]:
    ids = tokenizer(reply + SPECIALS[2], add_special_tokens=False)["input_ids"]
    return prompt_ids(tokenizer, question), list(ids)


def _padded(chunk: list[tuple[list[int], list[int]]]) -> Batch:
    length = max(len(p) + len(r) for p, r in chunk)
    ids = torch.zeros(len(chunk), length, dtype=torch.long)
    labels = torch.full((len(chunk), length), -100)
    mask = torch.zeros(len(chunk), length, dtype=torch.long)
    for i, (prompt, reply) in enumerate(chunk):
        end = len(prompt) + len(reply)
        ids[i, :end] = torch.tensor(prompt + reply)
        labels[i, len(prompt) : end] = torch.tensor(reply)
        mask[i, :end] = 1
    return ids, mask, labels


def block(tokenizer: Any, size: int, number: int) -> list[Batch]:
    """The batches of block `number`: a function of its arguments alone."""
    rng = np.random.default_rng([number, 3])
    rows = [_encoded(tokenizer, *base_text(free_blueprint(rng), rng)) for _ in range(size * _BLOCK)]
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    return [_padded(rows[start : start + size]) for start in rng.permutation(_BLOCK) * size]


class _Blocks(IterableDataset[list[Batch]]):
    """Endless blocks from `first` on; of W workers the w-th makes every W-th, which DataLoader puts in order again."""

    def __init__(self, tokenizer: Any, size: int, first: int) -> None:
        self._tokenizer, self._size, self._first = tokenizer, size, first

    def __iter__(self) -> Iterator[list[Batch]]:
        info = get_worker_info()
        own, workers = (info.id, info.num_workers) if info else (0, 1)
        number = self._first + own
        while True:
            yield block(self._tokenizer, self._size, number)
            number += workers


def loader(tokenizer: Any, size: int, step: int, workers: int) -> Iterator[Batch]:
    """Endless batches from that of `step` (from 0) on. workers: processes beside this one; 0 makes them here."""
    blocks = _Blocks(tokenizer, size, step // _BLOCK)
    skip = step % _BLOCK
    for batches in DataLoader(blocks, batch_size=None, num_workers=workers):
        yield from batches[skip:]
        skip = 0
