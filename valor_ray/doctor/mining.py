"""Would `valor mine` work with these settings? What it would stumble over, or be misled by, before anybody pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from valor_ray import images
from valor_ray.config.models import SHIPPED_PREFIX
from valor_ray.config.tree import Config
from valor_ray.doctor.checks import Check
from valor_ray.errors import ConfigError, ImageError
from valor_ray.models.shipped import on_bases
from valor_ray.records import Query

ReadQueries = Callable[[str, int], Sequence[Query]]  # source, at most so many; raises ConfigError

_ROWS, _OPENED = 200, 5  # queries that are read, and pictures of them that are opened
_SMALL_SIDE, _LOW_QUALITY = 512, 60  # below, a verifier sees little of small boxes
_CROWD = 40  # numbered boxes in one picture, beyond which numbers cover each other
_NEAR = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # where a model of one's own answers


def examine_mining(config: Config, read: ReadQueries) -> Iterator[Check]:
    """Checks of `grounding.*` and what it takes, one by one; the models and keys themselves are `checks.examine`'s.

    Called by `valor doctor`. Reads some queries and opens a few local pictures; nothing is fetched and nobody called.
    """
    yield _queries(config, read)
    yield _detector(config)
    yield _verifier(config)
    yield _pictures(config)


def _queries(config: Config, read: ReadQueries) -> Check:
    name, source = "mining queries", config.grounding.queries
    if source is None:
        return Check(
            name, True, f"tabletop scenes of seed {config.grounding.seed}, rendered when mining starts"
        )
    if source.startswith("hf:") or ("://" in source and not source.startswith("file://")):
        return Check(name, True, f"{source}: not on this machine, not looked at here", needed=False)
    try:
        queries = read(source, min(config.grounding.query_limit or _ROWS, _ROWS))
    except ConfigError as error:
        return Check(name, False, f"{source} cannot be read", str(error))
    named = list(dict.fromkeys(query.image for query in queries if query.image))
    bare = sum(not query.image for query in queries)
    if not named:
        fix = "Name a picture in each row (field `image`): without one there is nothing to look for boxes in."
        return Check(name, False, f"{source}: none of the first {len(queries)} queries names a picture", fix)
    tried = named[:: max(1, len(named) // _OPENED)][:_OPENED]
    problems = [problem for image in tried if (problem := _problem(image, config))]
    if problems:
        detail = f"{source}: {len(problems)} of {len(tried)} pictures tried cannot be opened"
        return Check(name, False, detail, problems[0], needed=len(problems) == len(tried))
    if bare:
        detail = f"{source}: {bare} of the first {len(queries)} queries have no picture and are left out"
        return Check(
            name, False, detail, "Name their pictures in the field `image`, or take them out.", False
        )
    return Check(
        name, True, f"{source}: the first {len(queries)} read, {len(tried)} of their pictures opened"
    )


def _problem(image: str, config: Config) -> str:
    """Why the picture cannot be mined; "" when it can, or when only fetching it would tell."""
    scheme = urlsplit(image).scheme if "://" in image else ""
    try:
        if image.startswith("data:"):
            images.from_data_uri(image, config.images)
        elif scheme in ("", "file"):
            images.load(Path(unquote(urlsplit(image).path) if scheme else image), config.images)
        elif scheme in ("http", "https") and scheme not in config.images.url_schemes:
            return f"{image[:200]} is at an address. Allow it: --set images.url_schemes=[https,http]."
    except ImageError as error:
        return str(error)
    return ""


def _detector(config: Config) -> Check:
    name, model = "mining detector", on_bases(config)[0].detector.model
    if model.startswith(SHIPPED_PREFIX) and config.grounding.queries is not None:
        fix = "Set detector.model to one that knows your pictures, as IDEA-Research/grounding-dino-tiny."
        return Check(name, False, f"{model} has seen tabletop scenes only", fix, needed=False)
    threshold, answering = config.grounding.box_threshold, config.detector.box_threshold
    if threshold >= answering:
        detail = f"grounding.box_threshold {threshold:g} is not below detector.box_threshold {answering:g}"
        fix = "Lower it (paper: 0.1): mining lives of boxes that answering would not see."
        return Check(name, False, detail, fix, needed=False)
    return Check(name, True, f"{model}, boxes from {threshold:g} on")


def _verifier(config: Config) -> Check:
    name, endpoints = "mining verifier", config.vlm.endpoints(config.vlm_part)
    offline = [key for key, endpoint in endpoints.items() if endpoint.base_url is None]
    if offline and config.grounding.queries is not None:
        fix = (
            f"For other pictures set {', '.join(f'{key}.base_url' for key in offline)} to a model that sees."
        )
        return Check(
            name, False, "the offline verifier is rule-based and knows tabletop scenes only", fix, False
        )
    free = [
        key
        for key, endpoint in endpoints.items()
        if endpoint.base_url is not None
        and urlsplit(endpoint.base_url).hostname not in _NEAR
        and not (endpoint.price_in and endpoint.price_out)
    ]
    if free:
        fix = f"Set {', '.join(f'{key}.price_in and {key}.price_out' for key in free)} to know what mining costs."
        return Check(name, False, "an endpoint without a price: its calls count as free", fix, needed=False)
    models = ", ".join(endpoint.model for endpoint in endpoints.values())
    return Check(
        name, True, "offline, for tabletop scenes" if offline else f"{models}, with prices or near by"
    )


def _pictures(config: Config) -> Check:
    """The first thing about the pictures sent that makes no sense."""
    grounding, vlm = config.grounding, config.vlm
    doubts = [
        (
            vlm.max_side < _SMALL_SIDE,
            f"vlm.max_side {vlm.max_side} px leaves little of small boxes",
            "Set vlm.max_side to 1024.",
        ),
        (
            grounding.picture_format == "jpeg" and vlm.jpeg_quality < _LOW_QUALITY,
            f"vlm.jpeg_quality {vlm.jpeg_quality} blurs what is checked",
            "Set vlm.jpeg_quality to 92.",
        ),
        (
            grounding.boxes_per_picture > _CROWD,
            f"grounding.boxes_per_picture {grounding.boxes_per_picture}: numbers cover each other",
            "Set it to 20.",
        ),
        (
            grounding.picture_format == "png",
            "PNG costs about ten times the CPU of JPEG",
            "Set grounding.picture_format to jpeg, unless your verifier needs PNG.",
        ),
    ]
    for doubtful, detail, fix in doubts:
        if doubtful:
            return Check("mining pictures", False, detail, fix, needed=False)
    detail = f"{grounding.picture_format}, long side {vlm.max_side} px, crops {grounding.crop_side} px"
    return Check("mining pictures", True, detail)
