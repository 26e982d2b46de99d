"""Pre-trains the tabletop policy: a small Qwen3 on text of right and wrong habits (DESIGN §4). No picture is seen.

`python -m valor_ray.tabletop.pretrain.policy --out DIR` writes a Hugging Face folder with its own tokenizer and chat
template; run again, it goes on from the last checkpoint. `--start POLICY` begins with the weights and the tokenizer of
a policy, on the text as it is now. It prints one line of JSON at the end, also in figures.json.
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
SAVE_EVERY, SAY_EVERY = 50, 20  # steps


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
    out: Path, steps: int, batch: int, device: str = "cpu", workers: int = 0, samples: int = 16,
    start: Path | None = None, learning_rate: float = LEARNING_RATE,
) -> dict[str, Any]:  # fmt: skip
    """Train for `steps` steps of `batch` texts in all, going on where the folder's state ends; returns the figures.

    The stream of texts depends on the step alone, neither on `workers` nor on stops. Every SAVE_EVERY steps the state
    is saved. A run of other `steps`, `batch` or `learning_rate` in the same folder would mix two schedules: use a new
    folder. start: folder of a policy whose weights and tokenizer are the beginning; None: nothing is.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(out, start)
    model = build_model(len(tokenizer)) if start is None else Qwen3ForCausalLM.from_pretrained(start)
    model = model.float().to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    progress = _resumed(out, model, optimizer, device)
    rates = [_rate(learning_rate, step, steps) for step in range(steps)]
    loss = _steps(out, model, optimizer, progress, tokenizer, rates, batch, device, workers)
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


def _tokenizer(out: Path, start: Path | None) -> PreTrainedTokenizerFast:
    """The folder's own; a new folder gets that of `start`, or one that is built."""
    if (out / "tokenizer.json").exists():
        start = out
    tokenizer: PreTrainedTokenizerFast = (
        build_tokenizer() if start is None else PreTrainedTokenizerFast.from_pretrained(start)
    )
    tokenizer.save_pretrained(out)
    return tokenizer


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
    rates: list[float], batch: int, device: str, workers: int,
) -> float | None:  # fmt: skip
    """The loop over the steps' learning rates; the last step's loss, None when no step was left to do."""
    steps = len(rates)
    loss, before, began = None, progress.minutes, time.monotonic()
    texts = iter(loader(tokenizer, batch, progress.step, workers)) if progress.step < steps else iter(())
    while progress.step < steps:
        ids, mask, labels = next(texts)
        for group in optimizer.param_groups:
            group["lr"] = rates[progress.step]
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


def _rate(most: float, step: int, steps: int) -> float:
    """Warm-up, then a cosine to a fiftieth."""
    return float(most * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.49 * (1 + np.cos(np.pi * step / steps))))


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
    parser.add_argument(
        "--start", type=Path, help="folder of a policy to go on from; without it, from nothing"
    )
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE, help="after the warm-up")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare texts; 0: none beside")
    parser.add_argument(
        "--samples", type=int, default=16, help="replies a family that are looked at in the end"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    figures = train(
        args.out,
        args.steps,
        args.batch,
        args.device,
        args.workers,
        args.samples,
        args.start,
        args.learning_rate,
    )
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
