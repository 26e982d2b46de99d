"""What a method of answering is: a name, what stands in for tools that its paper had, and how it is opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.ports import Policy
from valor_ray.records import Picture, Query
from valor_ray.tools import LiveTools, ToolHost

if TYPE_CHECKING:
    from valor_ray.asking.watched import Watched
    from valor_ray.benchmarks.reading.pictures import Pictures
    from valor_ray.config.tree import Config


LOOKED: ContextVar[list[Watched]] = ContextVar("looked")  # of the question that this task is asking
FELL_BACK_FROM = "fell_back_from"  # of a reply whose program failed: why

Answers = Callable[[Query], Awaitable[Mapping[str, Any]]]  # the keys of /v1/answer


@dataclass(frozen=True)
class Setup:
    """What a method is opened with. It holds no truth."""

    config: Config
    out: Path  # the run folder
    pictures: Pictures
    eyes: Callable[[], Watched]  # detector, depth and VQA of the app, for one question
    writer: Policy | None = (
        None  # takes whole prompts; None: there is none, and no method that writes can be opened
    )
    seed_of: Callable[[str], int] = lambda query_id: 0  # of the writing, by query_id
    asked: tuple[Query, ...] = ()  # all questions of the run
    api_questions: Path | None = None  # vadar: a question a line

    def tools(self, picture: Picture) -> ToolHost:
        """The app's tools for one question; a part that fails leaves it unasked (run.opened looks)."""
        watched = self.eyes()
        LOOKED.get().append(watched)
        return LiveTools(picture, watched, watched, watched)

    def written(self) -> Policy:
        """The writer, of a method whose `check` has passed."""
        assert self.writer is not None
        return self.writer


@dataclass(frozen=True)
class Method:
    """A way to answer questions about pictures.

    open: what answers one Query (with `status`), for as long as the block lasts. Entering raises
    ConfigError for what the settings lack, and what models raise that are asked before the first question.
    """

    name: str
    title: str
    open: Callable[[Setup], AbstractAsyncContextManager[Answers]]
    substitutes: tuple[str, ...] = ()  # "what the paper used: what stands here", a line each
    sees: bool = True  # asks the app's tools
    writes: bool = True  # asks a writer
    api_questions: bool = False  # is given questions that are not tested
    falls_back: bool = False  # to a question to the VLM, where its program fails

    def check(self, config: Config, api_questions: Path | None = None) -> None:
        """Raises ConfigError for what the settings lack, before anything is started."""
        if self.writes and config.policy.endpoint is None:
            raise ConfigError(
                f"--method {self.name} needs a writer that follows a prompt, and policy.model is none (the shipped one "
                "knows the tabletop's questions alone): set policy.endpoint. Without it this method is not measured."
            )
        if self.api_questions and api_questions is None:
            raise ConfigError(
                f"--method {self.name} writes its API from a few questions that are not tested: give them, one a line, "
                "with --api-questions FILE."
            )

    def record(self) -> dict[str, Any]:
        """What a report says of it."""
        return {"name": self.name, "title": self.title, "substitutes": list(self.substitutes)}


def load(setup: Setup, query: Query) -> Picture:
    """The picture of a question. Raises ImageError, and ServiceError where it has to be fetched and cannot be."""
    from valor_ray.images import load_with_file

    return load_with_file(setup.pictures.local(query.image), setup.config.images)


def failed(code: str, error: str, status: str) -> Mapping[str, Any]:
    """The reply about a question that came to no answer."""
    return {"answer": None, "plan": "", "code": code, "error": error, "status": status}
