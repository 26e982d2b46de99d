"""What `valor train grounding` knows of the offline world, and training does not: it mines, renders, and measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.models import DetectorConfig
    from valor_ray.config.tree import Config

EVALUATION = "evaluation"  # in the run folder: held-out scenes, and what the models see in them
SCENES = 300  # held-out scenes in each look, without --eval-scenes


class OfflineWorld:
    """grounding.finetune.host.Offline, on tabletop scenes."""

    def __init__(
        self, folder: Path, config: Config, scenes: int, *, in_process: bool, say: Callable[[str], None]
    ) -> None:
        """scenes: held-out ones in each look; 0: no evaluation."""
        self._folder, self._config, self.scenes = folder, config, scenes
        self._in_process, self._say = in_process, say

    def mine(self) -> Path:
        from valor_ray.commands.train.mine import mine_into
        from valor_ray.commands.train.planned import check_here
        from valor_ray.grounding.finetune.plan import placing
        from valor_ray.placement.grounding import wanted_gpus

        if not self._in_process:  # the learner too: mining may take hours
            check_here(self._config, placing(self._folder, self._config), wanted_gpus(self._config))
        mined = self._folder / "mined"
        report = mine_into(mined, self._config, in_process=self._in_process)
        if report["with_missing"] or report["failed"]:
            self._say(
                f"mining left {report['with_missing']} pictures that lack verdicts and {report['failed']} failures "
                f"behind ({mined}): training goes on with what is confirmed"
            )
        return mined

    def replay_pictures(self) -> Path:
        from valor_ray.tabletop.finetune.replay import render_replay

        settings = self._config.finetune
        folder = self._folder / "replay" / "pictures"
        return render_replay(folder, settings.replay_limit, settings.seed, self._say)

    def general(self) -> Path:
        from valor_ray.tabletop.finetune.general import render_general

        return render_general(self._folder / "general", say=self._say)

    def evaluate(self, models: Mapping[str, DetectorConfig]) -> dict[str, Any] | None:
        if not self.scenes or not rendered(self._folder, self._config):
            return None
        from valor_ray.tabletop.finetune.held_out import held_out_ap

        self._say(f"measuring on {self.scenes} held-out scenes a look")
        return held_out_ap(models, self.scenes, say=self._say, cache=self._folder / EVALUATION)


def rendered(folder: Path, config: Config) -> bool:
    """Whether the mined set is of tabletop scenes that mining has rendered, so that their looks' truth is known."""
    from valor_ray.commands.train.mine import OBJECTS
    from valor_ray.runs.folder import MINE, kind_of

    named = config.finetune.mined
    mined = folder / "mined" if named is None else Path(named).expanduser()
    places = (mined, mined.parent) if mined.name == "dataset" else (mined,)
    return any((place / OBJECTS).exists() and kind_of(place) is MINE for place in places)


def planned_pictures(config: Config) -> int:
    """About so many pictures would be mined. Raises ConfigError when the queries cannot be read."""
    from valor_ray.queries.read import read_queries
    from valor_ray.tabletop.mining.scenes import scenes_of

    grounding = config.grounding
    if grounding.queries is None:
        return scenes_of(grounding.query_limit)
    queries = read_queries(grounding.queries, grounding.query_limit, setting="grounding.query_limit")
    pictures = {query.image for query in queries if query.image}
    if not pictures:
        raise ConfigError(f"grounding.queries {grounding.queries} names no picture to mine.")
    return len(pictures)
