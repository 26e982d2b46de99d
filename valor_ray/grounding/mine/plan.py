"""What a run would do, and what it may cost, before anything is done (`--dry-run`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from valor_ray.config.judging import WRITER
from valor_ray.errors import ConfigError
from valor_ray.grounding.mine.folder import MineFolder
from valor_ray.grounding.mine.work import Pictures, pictures_left, placed, programs_left
from valor_ray.judges.gateway.answers import taken
from valor_ray.placement.grounding import mining_placement
from valor_ray.placement.nodes import Node, records
from valor_ray.records import Query
from valor_ray.tools import system_prompt
from valor_ray.wiring import writer_cache

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint
    from valor_ray.config.tree import Config

# Of a picture, where no program has been written yet: with two queries about a scene of six to eight things.
PHRASES, CANDIDATES, LEFT_BY_COARSE = 3, 14, 0.6
WITHOUT_BOX = (
    0.65  # of the pictures: hold a phrase that no box stands for, of which is asked whether it is there
)
# Of a request: a picture of 1,024 px is about 1,100 tokens for most models, prompt and list of boxes about 900.
_PICTURE_TOKENS, _TEXT_TOKENS, _ANSWER_TOKENS = 1100, 900, 60
_QUESTION_TOKENS, _PROGRAM_TOKENS, _CHARACTERS = (
    30,
    500,
    4,
)  # of a program's request beside its prompt; of a token


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
    vlm = config.vlm
    account = _Account(vlm, config.vlm_part, Path(vlm.cache_dir or folder.cache).expanduser())
    cost, assumed = _cost(account, typical, tokens_in, tokens_out)
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
        **_writing(config, folder, len(programs.todo)),
        **({} if places is None else {"placement": places}),
    }


def _writing(config: Config, folder: MineFolder, programs: int) -> dict[str, Any]:
    """What a writer behind an endpoint would take; {} where there is none."""
    endpoint = config.policy.endpoint
    if endpoint is None:
        return {}
    tokens_in = programs * (len(system_prompt(config.policy.prompt)) // _CHARACTERS + _QUESTION_TOKENS)
    account = _Account(endpoint, WRITER, writer_cache(config, folder.path))
    cost, assumed = _cost(account, programs, tokens_in, programs * _PROGRAM_TOKENS)
    return {
        "writer_calls": programs,
        "writer_cost_usd_typical": round(cost, 2),
        "writer_cost_assumes": assumed,
    }


class _Account(NamedTuple):
    """Who is paid: an endpoint, the section it stands in, and where its answers are kept."""

    endpoint: Endpoint
    section: str
    answers: Path


def _cost(account: _Account, calls: int, tokens_in: float, tokens_out: float) -> tuple[float, str]:
    """US dollars of all calls, and what that assumes: the tokens that this model's answers really took where there are
    some, else those given."""
    endpoint, section, answers = account
    words = f"usual tokens, at {section}.price_in and {section}.price_out"
    took = None
    if endpoint.base_url is not None:
        took = taken(answers, endpoint.model)
    if took is not None:
        tokens_in, tokens_out = calls * took.prompt_tokens, calls * took.completion_tokens
        words = (
            f"what {took.answers} answers of this model took, at {section}.price_in and {section}.price_out"
        )
    cost = (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6
    if endpoint.max_cost_usd is not None and cost > endpoint.max_cost_usd:
        words += f"; more than {section}.max_cost_usd={endpoint.max_cost_usd:g}: the run would end there"
    return cost, words
