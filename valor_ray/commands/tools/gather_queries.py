"""Puts queries of several sets into one list to train on or mine, without what evaluation measures with.

    python -m jobs.gather_queries --evaluation data/evaluation --from omni3d=data/evaluation/omni3d \\
        --from own:400=photos/queries.jsonl --out data/reasoning/queries.jsonl
    python -m jobs.gather_queries --evaluation data/evaluation --from gqa:3000=data/gqa --from tallyqa:3000=data/tqa \\
        --from vsr=data/vsr --per-picture 2 --visual-genome data/image_data.json --out data/mining/queries.jsonl

--from SET[:N]=PATH, repeated: at most N pictures (all) of gqa, tallyqa, vsr, omni3d (their train splits; rows 0-99 of
omni3d are measured with) or own (any list of queries: docs/design/queries.md). Which N: as if drawn by --seed, and a
higher N takes the same ones and more. Columns with answers are never read.

--evaluation DIR holds a folder for each set that is measured with, DIR/NAME as `valor eval NAME --data DIR/NAME` takes
it. A query is left out when its picture is one of theirs (the same number in COCO or Visual Genome, whatever the file
is called; the same bytes), or the same question is asked and the pictures are not known to differ, or it stands as an
example in a prompt. Copies that were scaled or encoded anew, under another name, are not known. Many pictures of Visual
Genome are COCO's too: --visual-genome names its image_data.json, which says which.

OUT gets query_id, image, question a line; beside it excluded.jsonl (query_id, why, of: each query that was left out,
and the row or query that it is one with) and pictures/ (those that rows hold). The same command writes the same files.

Exit code 0: written; 1: nothing is left, or the disk is full; 2: wrong usage, or a set that cannot be read;
130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import add_json, exit_code, local_path, positive, print_json, show
from valor_ray.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from valor_ray.queries.gathering.candidate import Candidate
    from valor_ray.queries.gathering.gather import Gathered

EXCLUDED = "excluded.jsonl"
SOURCES = ("gqa", "tallyqa", "vsr", "omni3d", "own")


@dataclass(frozen=True)
class Source:
    name: str  # of SOURCES
    pictures: int | None  # at most; None: all
    path: str


def source(text: str) -> Source:
    """argparse type: SET[:N]=PATH."""
    said, equals, path = text.partition("=")
    name, colon, number = said.partition(":")
    if not equals or not path or name not in SOURCES:
        raise argparse.ArgumentTypeError(f"{text!r} is not SET[:N]=PATH with SET one of {', '.join(SOURCES)}")
    return Source(name, positive(number) if colon else None, path)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.gather_queries", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--from",
        dest="sources",
        type=source,
        action="append",
        required=True,
        metavar="SET[:N]=PATH",
        help="see above",
    )
    parser.add_argument(
        "--evaluation", type=local_path, required=True, metavar="DIR", help="the sets that are measured with"
    )
    parser.add_argument("--out", type=local_path, required=True, metavar="FILE", help="JSONL, written anew")
    parser.add_argument(
        "--per-picture", type=positive, metavar="N", help="at most N queries about a picture, the first (all)"
    )
    parser.add_argument("--visual-genome", type=local_path, metavar="FILE", help="its image_data.json")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the choice of pictures (0)")
    add_json(parser)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    return exit_code("gather_queries", lambda: _work(args), as_json=args.json)


def _work(args: argparse.Namespace) -> int:
    gathered = run(args)
    taken = sum(len(each.taken) for each in gathered)
    said = [_said(one, found) for one, found in zip(args.sources, gathered, strict=True)]
    if args.json:
        print_json({"queries": taken, "sources": said})
    else:
        _show(said, taken, args.out)
    return 0 if taken else 1


def run(args: argparse.Namespace) -> list[Gathered]:
    """What was taken of each source, and written. Raises ConfigError, StorageError."""
    from valor_ray.benchmarks.leaks.measured import measured
    from valor_ray.benchmarks.reading.pictures import Pictures
    from valor_ray.config.service import ImageConfig, picture_folder
    from valor_ray.queries.gathering.candidate import own_candidates, set_candidates
    from valor_ray.queries.gathering.gather import gather
    from valor_ray.queries.gathering.picture_names import genome_names
    from valor_ray.queries.gathering.train_sets import TRAIN_SETS

    if args.out.is_dir():
        raise ConfigError(f"--out {args.out} is a folder. Give a file, as {args.out / 'queries.jsonl'}.")
    same = genome_names(args.visual_genome) if args.visual_genome else {}
    apart = measured(args.evaluation, Pictures(Path(picture_folder()), ImageConfig()), same, _say)
    pictures, found = args.out.absolute().parent / "pictures", []
    for one in args.sources:
        of = TRAIN_SETS.get(one.name)
        rows = (
            own_candidates(one.path, pictures, same, _say)
            if of is None
            else set_candidates(of, Path(one.path).expanduser(), same)
        )
        limits: dict[str, Any] = {
            "pictures": one.pictures,
            "per_picture": args.per_picture,
            "seed": args.seed,
        }
        found.append(gather(rows, apart, of=of, **limits))
        _tell(one, found[-1])
    _write(args.out, [candidate for each in found for candidate in each.taken], found)
    return found


def _tell(one: Source, found: Gathered) -> None:
    """What a user has to know of a source that came out otherwise than asked."""
    for why, count in found.refused.most_common(3):
        _say(f"{one.path}: {count} rows are no queries: {why}")
    if one.pictures is not None and found.pictures < one.pictures:
        _say(
            f"{one.path}: {found.pictures} pictures, and {one.pictures} were asked for: no more may be taken"
        )


def _write(out: Path, taken: Iterable[Candidate], found: Iterable[Gathered]) -> None:
    from valor_ray.queries.embedded import put
    from valor_ray.runs.record_file import replace_text

    folder, lines, ids = out.absolute().parent, [], set[str]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for candidate in taken:
            if candidate.query_id in ids:
                raise ConfigError(
                    f"Two queries have the id {candidate.query_id!r}. Name each source once, or give others."
                )
            ids.add(candidate.query_id)
            image = candidate.image
            named = put(image, folder / "pictures") if isinstance(image, bytes) else image
            if named.startswith(f"{folder}{os.sep}"):  # the folder can be moved
                named = Path(named).relative_to(folder).as_posix()
            row = {"query_id": candidate.query_id, "image": named, "question": candidate.question}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StorageError(
            f"Cannot write to {folder} ({error.strerror}). Free some space, or give --out."
        ) from error
    excluded = [json.dumps(asdict(each), ensure_ascii=False) + "\n" for one in found for each in one.left_out]
    replace_text(out.with_name(EXCLUDED), "".join(excluded))
    replace_text(out, "".join(lines))


def _said(one: Source, found: Gathered) -> dict[str, Any]:
    counts = {why.value: count for why, count in sorted(found.counts().items())}
    return {
        "set": one.name,
        "path": one.path,
        "rows": found.rows,
        "no_queries": found.refused.total(),
        "pictures": found.pictures,
        "queries": len(found.taken),
        "left_out": counts,
    }


def _show(said: list[dict[str, Any]], taken: int, out: Path) -> None:
    show(f"{'set':<10}{'rows':>9}{'pictures':>10}{'queries':>9}  left out")
    for one in said:
        left = ", ".join(f"{count} {why}" for why, count in one["left_out"].items())
        show(f"{one['set']:<10}{one['rows']:>9,}{one['pictures']:>10,}{one['queries']:>9,}  {left or '–'}")
    show(
        f"{taken:,} queries: {out}\nleft out, each with why: {out.with_name(EXCLUDED)}"
        if taken
        else "nothing is left"
    )


def _say(line: str) -> None:
    show(f"gather_queries: {line}", file=sys.stderr, flush=True)
