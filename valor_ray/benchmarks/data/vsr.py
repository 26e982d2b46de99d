"""VSR, zero-shot split, dev: is a caption true of its picture (CC BY 4.0; pictures are COCO's)."""

from __future__ import annotations

from valor_ray.benchmarks.reading.fields import Asked, Row
from valor_ray.benchmarks.reading.row_set import RowSet
from valor_ray.benchmarks.reading.source import Part
from valor_ray.benchmarks.truth import Benchmark, Truth, Wording
from valor_ray.measure.marks import Metric
from valor_ray.measure.paper_rules import PaperRule
from valor_ray.queries.gathering.train_sets import statement_question


def ask(row: Row, wording: Wording) -> Asked:
    """The paper's script writes "Is The cat is on the mat.?"; clean asks whether the statement is true."""
    caption, truth = row.text("caption"), row.yes_no("label")
    question = f"Is {caption}?" if wording is Wording.REFERENCE else statement_question(caption)
    link = row.fields.get("image_link")
    links = (link, link.replace("http://", "https://", 1)) if isinstance(link, str) and link else ()
    label = "true" if truth == "yes" else "false"  # as families: their macro mean is the balanced accuracy
    return Asked(
        question,
        Truth(truth, label, metric=Metric.YES_NO, rule=PaperRule.VSR),
        row.fields.get("image"),
        links=tuple(dict.fromkeys(links)),
    )


SET = RowSet(
    "vsr",
    "VSR (zero-shot, dev)",
    "cambridgeltl/vsr_zeroshot",
    (Part("", r"(^|/)(dev|validation)\b", "dev.jsonl"),),
    needs=("image", "caption", "label"),
    also=("image_link",),
    ask=ask,
    image_folders=("images", "train2017", "val2017"),
)
BENCHMARK = Benchmark(SET.name, SET.title, SET.load)
