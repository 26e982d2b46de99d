"""The records that flow between steps: frozen and plain; the two that are kept on disk know their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

import numpy as np

START_VERSION = "base"  # of the weights that an engine starts with, whichever; recorded in run folders
BBox = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the upright image, x right, y down


class ProgramStatus(StrEnum):
    """How a program ended (DESIGN §5)."""

    OK = "ok"  # ran to its end and set final_answer
    ERROR = "error"  # raised, or left final_answer unset
    TIMEOUT = "timeout"  # wall-clock or CPU limit
    KILLED = "killed"  # a resource limit or the system-call filter ended it
    REJECTED = "rejected"  # not run: does not parse, or too large


@dataclass(frozen=True)
class Picture:
    """An upright RGB image and the hash of its pixels."""

    rgb: np.ndarray  # uint8, (height, width, 3), not writeable
    key: str  # sha256 (hex) of shape and pixels: the cache key of everything derived from the image

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])


@dataclass(frozen=True)
class Query:
    """A question about a picture, to train on or to be measured by. There is no field for an answer (law 8)."""

    query_id: str
    question: str  # without surrounding space
    image: str = ""  # path or URL; "": unknown. The policy never sees it


@dataclass(frozen=True)
class Detection:
    bbox: BBox
    label: str  # the phrase exactly as it was asked for
    score: float  # 0..1


@dataclass(frozen=True)
class DepthMap:
    depth: np.ndarray  # float32 metres, (height, width) of the picture; np.inf where the model masks it
    focal_px: float  # estimated focal length in pixels of the picture


@dataclass(frozen=True)
class Reply:
    """What the policy wrote for one query."""

    text: str
    token_ids: tuple[int, ...]  # of the completion, as the engine sampled them
    logprobs: tuple[float, ...]  # behaviour log-probability of each completion token
    policy_version: str  # of the oldest weights that wrote a token of it
    finish_reason: str  # "stop" or "length"; of an endpoint's also "refusal", "content_filter", "empty"
    prompt_ids: tuple[int, ...] = ()  # of the chat prompt, as the engine was given them
    versions: tuple[tuple[str, int], ...] = ()  # (version, number of tokens) in order; sums to the tokens
    nothing: str = ""  # of an endpoint: why there is no text, in words for the user; "": there is one
    counted: tuple[int, int] | None = None  # of an endpoint, which gives no ids: tokens of prompt and reply
    cost_usd: float = 0.0  # of an endpoint, by the prices set; 0 where the reply was kept from before


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn where it is not the service's own way (PolicyConfig), as in training."""

    temperature: float
    top_p: float
    max_tokens: int
    top_k: int = -1  # no limit
    min_p: float = 0.0


@dataclass(frozen=True)
class ParsedReply:
    """The two blocks of a well-formed reply; `error` says why a reply is malformed (then both are empty)."""

    plan: str
    code: str
    error: str | None = None

    @property
    def well_formed(self) -> bool:
        return self.error is None


@dataclass(frozen=True)
class ToolCall:
    """One line of a program's trace."""

    tool: str  # canonical name: gd_detect, depth or vqa
    args: dict[str, Any]  # canonical argument names, JSON values
    result: Any  # JSON value, or None when `error` is set
    ms: float
    line: int  # line of the program (1-based)
    error: str | None = None
    version: str = ""  # of the detector's weights that answered; "": the tool has none, or did not answer


@dataclass(frozen=True)
class ProgramResult:
    status: ProgramStatus
    answer: Any = None  # JSON value of final_answer
    error: str | None = None  # what went wrong, for the user
    line: int | None = None  # line of the failure (1-based) when known
    calls: tuple[ToolCall, ...] = ()
    seconds: float = 0.0  # wall-clock
    output: str = ""  # what the program printed, cut at the limit
    level: str = ""  # where it ran, and behind which walls, as "fast seccomp+user+landlock" or "fork seccomp"


@dataclass(frozen=True)
class Answer:
    """The result of one question: the record behind `valor ask` and `/v1/answer`."""

    answer: Any
    plan: str
    code: str
    trace: tuple[ToolCall, ...] = field(default_factory=tuple)
    error: str | None = None
    seconds: float = 0.0
    reply: str = ""  # the policy's text as it came
    status: str = ""  # ProgramStatus, or "malformed" when the reply was not well formed
    policy_version: str = ""
    tokens: tuple[int, int] = (0, 0)  # of the policy's prompt and of its reply; those of `earlier` too
    cost_usd: float = 0.0  # of these replies, by an endpoint's prices
    earlier: tuple[Answer, ...] = ()  # replies that failed and were written anew, in order; each by itself
    unrepaired: str = ""  # why its failure was not repaired; "": it has none, or repairs ran out


class Head(StrEnum):
    """The six binary rewards (REFERENCE §1), and a seventh that is ours and off by default."""

    FORMAT = "format"
    SYNTAX = "syntax"
    LOGIC = "logic"
    ATTRIBUTE = "attribute"
    SPATIAL = "spatial"
    ADHERENCE = "adherence"
    SCENES = "scenes"  # gives a judge's answers in made-up scenes (reasoning.scenes)


JUDGED = (Head.LOGIC, Head.ATTRIBUTE, Head.SPATIAL, Head.ADHERENCE)  # the heads that an LLM verifier decides


@dataclass(frozen=True)
class Verdict:
    """yes, no, or missing: a judge's failure is not a verdict (law 3)."""

    value: bool | None  # None: missing
    reason: str = ""  # the judge's words; why it is missing when it is
    by: str = ""  # the judge's model; for syntax where the program ran, as ProgramResult.level
    undecided: bool = False  # missing for good: the reply leaves it open, asking again changes nothing


@dataclass(frozen=True)
class Usage:
    """What one judge call took. A cached answer costs nothing: its tokens and cost are 0."""

    latency_s: float = 0.0  # from asking to answer, waiting included
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    tries: int = 0  # HTTP requests sent for it, hedges included
    cached: bool = False  # from the disk cache, or shared with an equal call in flight
    model: str = ""


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a model behind an endpoint, ready to be sent; equal requests have equal answers."""

    head: str  # who asks: a judged head, "vqa", ...; names metrics and the schema
    version: str  # of the prompt: part of the cache key
    messages: tuple[Mapping[str, Any], ...]  # OpenAI chat format, JSON values
    schema: Mapping[str, Any]  # JSON schema of the answer
    patience_s: float | None = None  # how long to wait for a judge that is down; None: judge.patience_s


@dataclass(frozen=True)
class JudgeReply:
    """The judge's answer: a JSON object that fits the schema, or the reason why there is none."""

    content: Mapping[str, Any] | None
    missing: str = ""  # for the user; never holds a secret
    usage: Usage = Usage()
    outcome: str = ""  # how asking ended, as of a CallEvent; "" where nobody was asked


@dataclass(frozen=True)
class SceneObject:
    """A made-up object of a symbolic scene: all that anybody knows of it."""

    noun: str  # singular, lower case: "coffee table"
    attributes: Mapping[str, str]  # name -> value, lower case: {"colour": "red"}
    bbox: BBox  # pixels
    depth_m: float
    height: float  # real sizes, in a unit that a scene's objects share: pixels x depth_m, up to one factor
    width: float


@dataclass(frozen=True)
class SymbolicScene:
    """A scene without a picture, in which a program of a question runs and for which a judge says the answer."""

    image_size: tuple[int, int]  # width, height in pixels, of the picture that programs believe to see
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True)
class NamedThing:
    """Something that a question names: "the red box" (one), "boxes" (several), "objects" (noun "")."""

    noun: str  # singular, lower case; "": any object
    attributes: Mapping[str, str]  # that single it out
    several: bool  # the question is about all that fit; False: it speaks of exactly one


@dataclass(frozen=True)
class QuestionThings:
    """What a judge reads in a question: enough to make scenes for it, and no answer."""

    things: tuple[NamedThing, ...]  # in the order in which the question names them
    attributes: Mapping[str, tuple[str, ...]]  # that it uses or asks for, with some values that they may have
    others: tuple[str, ...]  # nouns of other objects that such a picture may hold
    answer: str  # "yes or no", "count", "number", "word"


@dataclass(frozen=True)
class SceneRun:
    """How a program fared in one symbolic scene."""

    status: str  # "answered", "failed", "undecided" (the scene's text does not tell), "handed_on" (asked vqa it all)
    answer: Any = None  # JSON value; of "answered" only
    why: str = ""  # the error; or the phrase or prompt that was undecided, or hands the question on
    phrase: str = ""  # of "undecided": the detection phrase, when it was one; a judge may say what it means
    level: str = ""  # where it ran, as ProgramResult.level


@dataclass(frozen=True)
class Reward:
    """R = format x sum of weight x head over the others (paper, section 3), of weights that sum to 1."""

    value: float | None  # 0..1; None: a verdict is missing, the sample is not to be trained on
    verdicts: Mapping[Head, Verdict]  # format always; when it is yes, all others that were asked
    usage: Mapping[Head, Usage] = field(default_factory=dict)  # of heads that judges were asked for
    seconds: float = 0.0  # wall-clock
    left_out: tuple[Head, ...] = ()  # do not apply to the question: the others' weights make up for them
    scene_test: str = ""  # JSON (reasoning.scenes.check.SceneTest); "" where no scenes were asked for


@dataclass(frozen=True)
class Sample:
    """One reply of the policy in its place in a training run, before anybody is paid to judge it."""

    rollout_id: str  # s000012-0-03-2: step, shard, group, sample
    step: int  # 1-based
    shard: int  # 0-based, of the step
    group: int  # 0-based, of the shard: the samples of one question
    sample: int  # 0-based, of the group
    query_id: str
    question: str
    reply: str
    prompt_ids: tuple[int, ...]  # as the engine was given them
    token_ids: tuple[int, ...]  # of the reply, as the engine sampled them
    logprobs: tuple[float, ...]  # behaviour log-probability of each token of token_ids
    versions: tuple[tuple[str, int], ...]  # (version of the weights, tokens) in order
    finish_reason: str  # "stop" or "length"

    def to_record(self) -> dict[str, Any]:
        """The JSON object that is kept of it: its fields, in their order."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Of a JSON object with these fields; others, as later versions may write, are left out.

        A field that came later has its default where an older record lacks it. Raises KeyError.
        """
        known = [each for each in fields(cls) if each.default is MISSING or each.name in record]
        values = {each.name: record[each.name] for each in known}
        for name in ("prompt_ids", "token_ids", "logprobs", "left_out"):
            if name in values:
                values[name] = tuple(values[name])
        values["versions"] = tuple((version, tokens) for version, tokens in values["versions"])
        return cls(**values)


@dataclass(frozen=True)
class Rollout(Sample):
    """A rewarded sample, the same record from sampling to report: nobody changes it after `roll_out` has made it.

    Pickled to the buffer and on to the learner; a line of rollouts.jsonl, which resume and replay read. Lag is no part
    of it: it depends on the step that trains on it (StepBatch.lags). As an Arrow schema: reasoning.schema.
    """

    # fields of a reward record (reasoning.reward.reward_record)
    value: float | None  # the reward, 0..1; None: a verdict is missing
    format: bool | None  # verdicts of the heads; None: missing, or judged by nobody
    syntax: bool | None
    logic: bool | None
    attribute: bool | None
    spatial: bool | None
    adherence: bool | None
    scenes: bool | None = field(default=None, kw_only=True)
    left_out: tuple[str, ...] = field(default=(), kw_only=True)  # as Reward.left_out
    reasons: Mapping[str, str]  # head -> the judge's words; a head that was not asked is not in it
    by: Mapping[str, str]  # head -> the judge's model; for syntax where the program ran
    calls: int  # HTTP requests to the judge, hedges included
    cache_hits: int
    prompt_tokens: int  # of the judge, as are the next two
    completion_tokens: int
    cost_usd: float
    latency_s: Mapping[str, float]  # judged head -> seconds from asking to answer
    seconds: float  # of the whole reward, wall-clock
    scene_test: str = field(default="", kw_only=True)  # as Reward.scene_test
    # what training makes of it
    fate: str  # advantage.Use: used, equal or missing
    advantage: float | None  # within its group; None unless it is used


class BoxStage(StrEnum):
    """The stages of grounding's box verification, in order (REFERENCE §1: hard-negative mining)."""

    CANDIDATES = "candidates"  # as the detector proposed them at a low threshold
    COARSE = "coarse"  # the whole picture, clean and with numbered boxes
    CROPS = "crops"  # each surviving box alone
    DUPLICATES = "duplicates"  # one best box per object and phrase


BOX_CHECKS = (BoxStage.COARSE, BoxStage.CROPS, BoxStage.DUPLICATES)


@dataclass(frozen=True)
class BoxDecision:
    """What one check said of one box."""

    stage: BoxStage  # of BOX_CHECKS
    kept: bool | None  # None: missing, which is no verdict (law 3)
    reason: str = ""  # the verifier's words; why it is missing when it is
    by: str = ""  # the verifier's model; "geometry" where the boxes' places decide
    unsure: bool = False  # it could not tell: dropped, and no negative


@dataclass(frozen=True)
class CheckedBox:
    """A candidate and what the checks said of it, up to the first that did not keep it."""

    bbox: BBox
    label: str  # the phrase, spelt as it was asked
    score: float  # the detector's, 0..1
    decisions: tuple[BoxDecision, ...] = ()  # in the order of BOX_CHECKS

    @property
    def kept(self) -> bool | None:
        """True after all three checks, False after a no, None while a verdict is missing."""
        if any(decision.kept is False for decision in self.decisions):
            return False
        if len(self.decisions) < len(BOX_CHECKS) or any(each.kept is None for each in self.decisions):
            return None
        return True

    @property
    def unsure(self) -> bool:
        """Whether a check dropped it because it could not tell: its phrase may well be right there."""
        return any(decision.unsure for decision in self.decisions)

    def passed(self, stage: BoxStage) -> bool:
        """Whether it is still there after this stage."""
        said = {decision.stage: decision.kept for decision in self.decisions}
        needed = BOX_CHECKS[: list(BoxStage).index(stage)]
        return all(said.get(each) is True for each in needed)


@dataclass(frozen=True)
class MinedImage:
    """A picture with everything that mining knows of it: a line of images.jsonl, which resume and exports read.

    Made by grounding.mine for each picture and set of new phrases; a picture that comes again with further phrases
    gets a further record (the exports merge them by `key`).
    """

    image: str  # path or URL, as the queries name it
    key: str  # Picture.key: sha256 of the upright pixels
    width: int  # px, of the upright picture, as are the boxes
    height: int
    query_ids: tuple[str, ...]
    phrases: tuple[str, ...]  # the detector was asked for, spelt as the first program asked
    boxes: tuple[CheckedBox, ...]  # all candidates, best score first
    detector: str = ""  # version of its weights
    calls: int = 0  # HTTP requests to the verifier, hedges included
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0  # wall-clock
    slips: Mapping[str, int] = field(default_factory=dict)  # judges.boxes.partition.SLIPS -> how often
    # phrase that no box stands for -> "present", "absent", "unsure", None: no verdict; not in it: was not asked about
    presence: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Boxes and phrases without a verdict: judged again by the next start."""
        return sum(box.kept is None for box in self.boxes) + [*self.presence.values()].count(None)

    def to_record(self) -> dict[str, Any]:
        """The JSON object that is kept of it."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        record["boxes"] = [
            vars(box) | {"decisions": [vars(said) | {"stage": said.stage.value} for said in box.decisions]}
            for box in self.boxes
        ]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Of a JSON object with these fields; others, as later versions may write, are left out. Raises KeyError."""
        known = [each.name for each in fields(cls) if each.default is MISSING or each.name in record]
        values = {name: record[name] for name in known if name in record}
        values |= {name: tuple(record[name]) for name in ("query_ids", "phrases")}
        values["boxes"] = tuple(
            CheckedBox(
                tuple(box["bbox"]), box["label"], box["score"], tuple(map(_decision, box["decisions"]))
            )
            for box in record["boxes"]
        )
        return cls(**values)


def _decision(record: Mapping[str, Any]) -> BoxDecision:
    """Records of before there was the word hold no `unsure`. Raises KeyError."""
    unsure = record.get("unsure", False)
    return BoxDecision(BoxStage(record["stage"]), record["kept"], record["reason"], record["by"], unsure)
