"""The policy's chat prompt: the same text, roles and thinking mode in training, evaluation and service."""

from __future__ import annotations

from valor_ray.tools import system_prompt


def chat(question: str, name: str) -> list[dict[str, str]]:
    """Messages for one question. `name`: "short" (the tabletop policy's) or "full" (the tools' whole API)."""
    return [{"role": "system", "content": system_prompt(name)}, {"role": "user", "content": question}]
