"""Pre-trains the tabletop policy: a small Qwen3 on text of right and wrong habits (DESIGN §4). No picture is seen.

`python -m valor_ray.tabletop.pretrain.policy --out DIR` writes a Hugging Face folder with its own tokenizer and chat
template; run again, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from valor_ray.models.vllm.prompting import chat
from valor_ray.tabletop.habits import MIXTURE, RIGHT, base_text, write
from valor_ray.tabletop.questions import FAMILIES
from valor_ray.tabletop.sample_questions import free_blueprint
from valor_ray.tools import system_prompt

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPT = "short"  # prompts/system_short.txt: the text is learnt, so it must not change afterwards
VOCABULARY = 1024
LEARNING_RATE = 2e-3
WARM_UP = 100
SAVE_EVERY, CHECK_EVERY = 100, 500  # steps


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


def _encode(tokenizer: Any, question: str, reply: str) -> tuple[list[int], list[int]]:
    prompt = tokenizer.apply_chat_template(chat(question, PROMPT), add_generation_prompt=True, tokenize=False)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return ids, tokenizer(reply + SPECIALS[2], add_special_tokens=False)["input_ids"]


def batches(
    tokenizer: Any, seed: int, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Endless (ids, attention, labels), each (size, length); texts of like length go together."""
    rng = np.random.default_rng([seed, 3])
    while True:
        rows = [_encode(tokenizer, *base_text(free_blueprint(rng), rng)) for _ in range(size * 16)]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        for start in rng.permutation(16) * size:
            chunk = rows[start : start + size]
            length = max(len(p) + len(r) for p, r in chunk)
            ids = torch.zeros(size, length, dtype=torch.long)
            labels = torch.full((size, length), -100)
            mask = torch.zeros(size, length, dtype=torch.long)
            for i, (prompt, reply) in enumerate(chunk):
                ids[i, : len(prompt) + len(reply)] = torch.tensor(prompt + reply)
                labels[i, len(prompt) : len(prompt) + len(reply)] = torch.tensor(reply)
                mask[i, : len(prompt) + len(reply)] = 1
            yield ids, mask, labels


@torch.no_grad()
def copy_fidelity(
    model: Qwen3ForCausalLM, tokenizer: Any, per_family: int = 8, seed: int = 9
) -> dict[str, float]:
    """Share of sampled replies (T 0.7) that are, to the letter, some habit's unbroken reply to their question."""
    rng = np.random.default_rng(seed)
    right: dict[str, float] = {}
    for family in FAMILIES:
        prompts, allowed = [], []
        for _ in range(per_family):
            blueprint = free_blueprint(rng, family)
            question, _reply = base_text(blueprint, rng)
            prompts.append(tokenizer.decode(_encode(tokenizer, question, "")[0]))
            habits = [RIGHT[family], *(habit for habit, _share in MIXTURE[family])]
            allowed.append(
                {write(habit(blueprint), guarded) for habit in habits for guarded in (True, False)}
            )
        encoded = tokenizer(
            prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        encoded.pop("token_type_ids", None)
        out = model.generate(
            **encoded, max_new_tokens=240, do_sample=True, temperature=0.7, top_k=20, top_p=0.8
        )
        replies = tokenizer.batch_decode(out[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
        right[family] = sum(reply in ok for reply, ok in zip(replies, allowed, strict=True)) / per_family
    return right


def save(out: Path, model: Qwen3ForCausalLM, tokenizer: Any) -> None:
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def train(out: Path, steps: int, batch: int, threads: int) -> None:
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    if (out / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    else:
        tokenizer = build_tokenizer()
        tokenizer.save_pretrained(out)
    model = build_model(len(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.05)
    state_path, first = out / "state.pt", 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    data, tokens, began = batches(tokenizer, seed=first, size=batch), 0, time.time()
    for step in range(first, steps):
        scale = min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = float(LEARNING_RATE * scale)
        ids, mask, labels = next(data)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten()
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokens += int(mask.sum())
        if step % 20 == 0:
            print(
                f"step {step} loss {loss.item():.4f} tokens {tokens} tok/s {tokens / (time.time() - began):.0f}",
                flush=True,
            )
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, out / "state.tmp")
            (out / "state.tmp").replace(state_path)
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            model.eval()
            print("copy fidelity", json.dumps(copy_fidelity(model, tokenizer)), flush=True)
            model.train()
    save(out, model, tokenizer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=32, help="texts a step")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    train(args.out, args.steps, args.batch, args.threads)


if __name__ == "__main__":
    main()
