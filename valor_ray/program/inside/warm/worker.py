"""A worker that runs what the driver sends, one gated program after the other, each in fresh namespaces.

It answers tool calls itself, from placeholder worlds or symbolic scenes, so that a whole survey, or a tour of scenes,
is one message in and one out. What it says is checked by the driver like everything that comes out of the sandbox.
Standard library, numpy and our tools only.
"""

from __future__ import annotations

from types import CodeType
from typing import Any, NamedTuple

from valor_ray.program.inside import protocol
from valor_ray.program.inside.channel import Channel
from valor_ray.program.inside.execution import Ended, compiled
from valor_ray.program.inside.placeholders import PlaceholderTools, World
from valor_ray.program.inside.scene_words import scene_from_json
from valor_ray.program.inside.scene_world import Asked, SceneTools
from valor_ray.program.inside.warm.residue import Residue
from valor_ray.program.inside.warm.run import Run, Tools, as_sent
from valor_ray.records import SymbolicScene

_LIMITS = ("killed", "memory")


class Worker:
    """Runs what the driver sends, one program after the other, until the socket closes.

    Made by the zygote, with the state of a process that has run no program; each fork has it to itself.
    """

    def __init__(self, stubs: CodeType, residue: Residue) -> None:
        self.stubs = stubs
        self._residue = residue
        self._scenes = _Scenes("", (), None)

    def serve(self, channel: Channel) -> None:
        while True:
            results, left = self.answer(channel.receive())
            channel.send({"t": "surveyed", "results": results, "left": left})

    def answer(self, request: dict[str, Any]) -> tuple[list[Any], str]:
        """Results for each world or scene, and what the program has left in the process: nothing, or it is replaced."""
        if (
            "scenes" in request and request["scenes"] != self._scenes.text
        ):  # those of one question come together
            self._scenes = _Scenes.read(request["scenes"])
        program = compiled(request["code"])
        results: list[Any]
        if isinstance(program, Ended):
            results = [[as_sent(program)] if "scenes" in request else as_sent(program)]
        elif "scenes" in request:
            results = self._tour(request, program)
        else:
            results = self._survey(request, program)
        del program
        self._residue.tidy()
        left = self._residue.left()
        if left:  # many results are many objects: put them into one text and look again
            text = protocol.body(results)
            results.clear()
            left = self._residue.left()
            results = protocol.decode(text)
        return results, left

    def _tour(self, request: dict[str, Any], program: CodeType) -> list[list[dict[str, Any]]]:
        """One or two results for each scene, the second with detections in reverse; up to the first limit."""
        asked = self._scenes.asked
        assert asked is not None
        results: list[list[dict[str, Any]]] = []
        for scene in self._scenes.scenes:
            tools = SceneTools(scene, asked)
            results.append([self._run(request, scene.image_size, tools, program)])
            if tools.ordered and results[-1][0]["status"] == "ok":
                reverse = SceneTools(scene, asked, reverse=True)
                results[-1].append(self._run(request, scene.image_size, reverse, program))
            if results[-1][-1]["status"] in _LIMITS:
                break
        return results

    def _survey(self, request: dict[str, Any], program: CodeType) -> list[dict[str, Any]]:
        """One result per world, up to the first that the program does not survive."""
        size = (request["size"][0], request["size"][1])
        results: list[dict[str, Any]] = []
        for world in request["worlds"]:
            tools = PlaceholderTools(size, World(**{**world, "boxes": tuple(world["boxes"])}))
            results.append(self._run(request, size, tools, program))
            if results[-1]["status"] != "ok":
                break
        return results

    def _run(
        self, request: dict[str, Any], size: tuple[int, int], tools: Tools, program: CodeType
    ) -> dict[str, Any]:
        self._residue.tidy()
        return Run(request, size, tools).result(program, self.stubs)


class _Scenes(NamedTuple):
    """The scenes of a question, as no program ever holds them."""

    text: str
    scenes: tuple[SymbolicScene, ...]
    asked: Asked | None

    @classmethod
    def read(cls, text: str) -> _Scenes:
        told = protocol.decode(text.encode("ascii"))
        scenes = tuple(map(scene_from_json, told["scenes"]))
        return cls(text, scenes, Asked.of(told["question"], scenes, told["words"]))
