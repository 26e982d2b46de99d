"""What a run would do, and what it may cost, before anything is done (`--dry-run`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.grounding.mine.folder import MineFolder
from valor_ray.grounding.mine.work import Pictures, pictures_left, placed, programs_left
from valor_ray.judges.gateway.answers import taken
from valor_ray.placement.grounding import mining_placement
from valor_ray.placement.nodes import Node, records
from valor_ray.records import Query

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

# Of a picture, where no program has been written yet: with two queries about a scene of six to eight things.
PHRASES, CANDIDATES, LEFT_BY_COARSE = 3, 14, 0.6
WITHOUT_BOX = (
    0.65  # of the pictures: hold a phrase that no box stands for, of which is asked whether it is there
)
# Of a request: a picture of 1,024 px is about 1,100 tokens for most models, prompt and list of boxes about 900.
_PICTURE_TOKENS, _TEXT_TOKENS, _ANSWER_TOKENS = 1100, 900, 60


def plan(
    path: Path,
    config: Config,
    queries: Sequence[Query],
    scenes: int,
    nodes: Sequence[Node] | None = None,
) -> dict[str, Any]:
    """Counts, and typical figures where only the run itself can tell. Writes nothing.

    scenes: to be rendered first (0: none), for which `queries` stand. nodes: where it would run: also who sits on which
    GPU, refused where they do not fit. Raises ConfigError as the run would.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--run {path} is a file. Give a folder.")
    folder = MineFolder(path)
    folder.check_config(config)
    programs = programs_left(placed(queries), folder.programs)
    left = Pictures(pictures=scenes)
    if not scenes:
        left = pictures_left(list(programs.recorded.values()), folder.images, folder.missing)
    unknown = scenes or len({query.image for query in programs.todo})
    pictures = len(left.todo) + unknown
    grounding = config.grounding
    packed = -(-CANDIDATES // grounding.boxes_per_picture)
    crops = round(CANDIDATES * LEFT_BY_COARSE)
    presence = -(-PHRASES // grounding.boxes_per_picture) if grounding.presence else 0
    asked = round(pictures * WITHOUT_BOX) * presence
    typical = pictures * (packed + crops + 1) + asked
    most = pictures * ((1 + grounding.ask_again) * (2 * packed + presence) + CANDIDATES)
    two = 2 * _PICTURE_TOKENS + _TEXT_TOKENS
    tokens_in = pictures * ((packed + 1) * two + crops * (_PICTURE_TOKENS // 2 + _TEXT_TOKENS // 2))
    tokens_in += asked * (_PICTURE_TOKENS + _TEXT_TOKENS)
    tokens_out = pictures * _ANSWER_TOKENS * (CANDIDATES + 2 * crops) + asked * PHRASES * _ANSWER_TOKENS
    cost, assumed = _cost(config, folder, typical, tokens_in, tokens_out)
    places = None
    if nodes is not None:
        places = records(mining_placement(config, nodes, programs=bool(programs.todo)))
    return {
        "queries": len(queries),
        "queries_without_picture": len(programs.failed),
        "programs_to_write": len(programs.todo),
        "scenes_to_render": scenes,
        "pictures_to_mine": pictures,
        "detector_passes": pictures,
        "candidates_typical": pictures * CANDIDATES,
        "verifier_calls_typical": typical,
        "verifier_calls_most": most,
        "cost_usd_typical": round(cost, 2),
        "cost_assumes": assumed,
        **({} if places is None else {"placement": places}),
    }


def _cost(
    config: Config, folder: MineFolder, calls: int, tokens_in: float, tokens_out: float
) -> tuple[float, str]:
    """US dollars of all calls, and what that assumes: the tokens that this model's answers really took where there are
    some, else those given."""
    vlm, part = config.vlm, config.vlm_part
    words = f"usual tokens, at {part}.price_in and {part}.price_out"
    took = None
    if vlm.base_url is not None:
        took = taken(Path(vlm.cache_dir or folder.cache).expanduser(), vlm.model)
    if took is not None:
        tokens_in, tokens_out = calls * took.prompt_tokens, calls * took.completion_tokens
        words = f"what {took.answers} answers of this model took, at {part}.price_in and {part}.price_out"
    cost = (tokens_in * vlm.price_in + tokens_out * vlm.price_out) / 1e6
    if vlm.max_cost_usd is not None and cost > vlm.max_cost_usd:
        words += f"; more than {part}.max_cost_usd={vlm.max_cost_usd:g}: the run would end there"
    return cost, words
