"""The questions that `valor eval` asks: read, apart from what a model was trained on, and what is noted of them."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import print_json, show
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.benchmarks.reading.pictures import Pictures
    from valor_ray.benchmarks.settings import Asking
    from valor_ray.benchmarks.truth import Benchmark, Loaded
    from valor_ray.config.tree import Config


def pictures_of(args: Namespace, config: Config) -> Pictures:
    from valor_ray.benchmarks.reading.pictures import Pictures
    from valor_ray.config.service import picture_folder

    return Pictures(args.pictures or Path(picture_folder()), config.images)


def load(
    args: Namespace,
    chosen: Benchmark,
    pictures: Pictures,
    asking: Asking,
    config: Config,
    scratch: Path | None,
) -> Loaded:
    """Its questions and truths, those of an earlier start where there was one. scratch: for what has to be rendered,
    where nothing is to be left in --out."""
    from valor_ray.benchmarks.leaks.trained import untrained
    from valor_ray.benchmarks.settings import asked_before
    from valor_ray.benchmarks.truth import Request, Wording

    wording, settings = Wording(args.wording), _settings(args, asking, config)
    revision = asked_before(args.out, chosen.name, wording, asking, settings)
    request = Request(
        args.data, scratch or args.out, pictures, args.limit, wording, args.revision or revision, _looks(args)
    )
    try:
        loaded = chosen.load(request)
    except ConfigError as error:
        if args.data is None:
            raise
        raise ConfigError(f"--data {error}") from error
    if revision and loaded.revision and loaded.revision != revision:
        raise ConfigError(
            f"--out {args.out} holds answers to revision {revision} of {chosen.title}, not {loaded.revision}. Give "
            "each its own --out."
        )
    return loaded if args.url else untrained(loaded, config, leave_out=args.leave_out_trained)


def _looks(args: Namespace) -> tuple[str, ...]:
    if args.looks and (args.benchmark != "tabletop" or args.data is not None):
        raise ConfigError("--looks is of the tabletop's rendered scenes: without it, or without --data.")
    return tuple(args.looks)


def _settings(args: Namespace, asking: Asking, config: Config) -> Mapping[str, Any] | None:
    """Those that decide about answers; None of a server, whose settings are not known."""
    from valor_ray.benchmarks.settings import answering

    return answering(config, asking) if args.url is None else None


def note_settings(args: Namespace, loaded: Loaded, asking: Asking, config: Config) -> None:
    """In --out, for later starts and `valor compare`. Raises StorageError."""
    from valor_ray.benchmarks.settings import save
    from valor_ray.benchmarks.truth import Wording

    source = "hub" if loaded.revision else str(args.data or "rendered")
    settings = _settings(args, asking, config)
    save(args.out, args.benchmark, Wording(args.wording), source, loaded, asking, settings)


def show_planned(chosen: Benchmark, loaded: Loaded, pictures: Pictures, *, as_json: bool) -> None:
    """How many questions of which kind, about how many pictures, and how many of these are to be fetched."""
    families = Counter(truth.family for truth in loaded.truths.values())
    images = {query.image for query in loaded.queries}
    planned = {
        "benchmark": chosen.name,
        "title": chosen.title,
        "revision": loaded.revision or None,
        "questions": len(loaded.queries),
        "pictures": len(images),
        "to_fetch": len(images & pictures.remote.keys()),
        "families": families,
        "notes": list(loaded.notes),
    }
    if as_json:
        print_json(planned)
        return
    kinds = ", ".join(f"{count} {family}" for family, count in families.items())
    show(
        f"{chosen.title}{f' at {loaded.revision}' if loaded.revision else ''}: {planned['questions']} questions "
        f"({kinds}) about {planned['pictures']} pictures, {planned['to_fetch']} of them to be fetched. Nothing was "
        "asked."
    )
