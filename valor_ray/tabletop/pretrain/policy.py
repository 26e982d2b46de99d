"""Pre-trains the tabletop policy: a small Qwen3 on text of right and wrong habits (DESIGN §4). No picture is seen.

`python -m valor_ray.tabletop.pretrain.policy --out DIR` writes a Hugging Face folder with its own tokenizer and chat
template; run again, it goes on from the last checkpoint. It prints one line of JSON at the end, also in figures.json.
Needs torch, transformers, tokenizers, numpy and pydantic only: a bare machine with a GPU will do (`--device cuda`).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from valor_ray.tabletop.pretrain.policy_check import check_samples
from valor_ray.tabletop.pretrain.policy_text import PROMPT, SPECIALS, loader
from valor_ray.tabletop.replies.mixture import base_text
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tools import system_prompt

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 1024
LEARNING_RATE = 2e-3
WARM_UP = 100
STEPS, BATCH = 6000, 64  # 3.4 minutes on an H200, hours on a core
SAVE_EVERY, SAY_EVERY = 200, 20  # steps


def build_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the world's own sentences."""
    rng = np.random.default_rng(seed)
    texts = (text for _ in range(20_000) for text in base_text(free_blueprint(rng), rng))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIALS), initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator([system_prompt(PROMPT), "system user assistant", *texts], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIALS[2],
        pad_token=SPECIALS[0],
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
    )


def build_model(vocabulary: int) -> Qwen3ForCausalLM:
    """About 2 M parameters; embeddings untied (STACK: tied ones go stale on CPU reloads)."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        rope_theta=10000.0,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return Qwen3ForCausalLM(config)


@dataclass
class Progress:
    """What the state file remembers beside weights and optimiser."""

    step: int = 0
    tokens: int = 0  # of prompts and replies
    minutes: float = 0.0  # of training, over all runs


def train(
    out: Path, steps: int, batch: int, device: str = "cpu", workers: int = 0, samples: int = 16
) -> dict[str, Any]:
    """Train for `steps` steps of `batch` texts in all, going on where the folder's state ends; returns the figures.

    The stream of texts depends on the step alone, neither on `workers` nor on stops. Every SAVE_EVERY steps the state
    is saved. A run of other `steps` or `batch` in the same folder would mix two schedules: use a new folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    if (out / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    else:
        tokenizer = build_tokenizer()
        tokenizer.save_pretrained(out)
    model = build_model(len(tokenizer)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.05)
    progress = _resumed(out, model, optimizer, device)
    loss = _steps(out, model, optimizer, progress, tokenizer, steps, batch, device, workers)
    model.eval()
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    figures = {
        "steps": progress.step,
        "texts": progress.step * batch,
        "tokens": progress.tokens,
        "minutes": round(progress.minutes, 2),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "loss": loss,
        "samples": check_samples(model, tokenizer, device, samples),
    }
    (out / "figures.json").write_text(json.dumps(figures) + "\n")
    return figures


def _resumed(out: Path, model: Any, optimizer: Any, device: str) -> Progress:
    path = out / "state.pt"
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True, map_location=device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(state["step"], state["tokens"], state["minutes"])


def _saved(out: Path, model: Any, optimizer: Any, progress: Progress) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **vars(progress)}
    torch.save(state, out / "state.tmp")
    (out / "state.tmp").replace(out / "state.pt")


def _steps(
    out: Path, model: Any, optimizer: Any, progress: Progress, tokenizer: Any,
    steps: int, batch: int, device: str, workers: int,
) -> float | None:  # fmt: skip
    """The loop; the last step's loss, None when no step was left to do."""
    loss, before, began = None, progress.minutes, time.monotonic()
    texts = iter(loader(tokenizer, batch, progress.step, workers)) if progress.step < steps else iter(())
    while progress.step < steps:
        ids, mask, labels = next(texts)
        for group in optimizer.param_groups:
            group["lr"] = _rate(progress.step, steps)
        loss = _step(model, optimizer, ids.to(device), mask.to(device), labels.to(device), device)
        progress.step += 1
        progress.tokens += int(mask.sum())
        progress.minutes = before + (time.monotonic() - began) / 60
        if progress.step % SAY_EVERY == 0:
            rate = progress.tokens / (60 * progress.minutes)
            print(
                f"step {progress.step} loss {loss.item():.4f} tokens {progress.tokens} tok/s {rate:.0f}",
                flush=True,
            )
        if progress.step % SAVE_EVERY == 0 or progress.step == steps:
            _saved(out, model, optimizer, progress)
    return None if loss is None else round(loss.item(), 4)


def _rate(step: int, steps: int) -> float:
    """Warm-up, then a cosine to a fiftieth."""
    return float(
        LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.49 * (1 + np.cos(np.pi * step / steps)))
    )


def _step(
    model: Any, optimizer: Any, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, device: str
) -> torch.Tensor:
    """One update on a batch, all tensors (texts, tokens); returns the loss."""
    with torch.autocast(device, torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=mask).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch", type=int, default=BATCH, help="texts a step")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare texts; 0: none beside")
    parser.add_argument(
        "--samples", type=int, default=16, help="replies a family that are looked at in the end"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        json.dumps(train(args.out, args.steps, args.batch, args.device, args.workers, args.samples)),
        flush=True,
    )


if __name__ == "__main__":
    main()
