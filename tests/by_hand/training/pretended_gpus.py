"""By hand: the real app on a cluster of nodes with two pretended GPUs each, all on this machine, on its CPU.

    python tests/by_hand/training/pretended_gpus.py        who sits where
    python tests/by_hand/training/pretended_gpus.py --lose learner  a node dies (engine, ledger)
    python tests/by_hand/training/pretended_gpus.py --notice 90     its node will be taken; nobody saves otherwise

2 to 4 minutes each. Engines and learner on GPUs of their own, the learner on one node, the driver on none; of what is
lost another one comes a moment later. Prints JSON; exit code 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import train_runs as runs
from pretended import PretendedCluster, pretended_cluster

AFTER = 2  # steps, something happens
SETTINGS = [
    "grpo.max_lag=0", "grpo.device=cpu", "grpo.num_gpus=1", "grpo.workers=2", "grpo.micro_batch=2",
    "policy.num_gpus=1", "detector.num_gpus=0.25", "depth.num_gpus=0.5",
]  # fmt: skip
LEDGER = "judge_ledger"
ENGINES = 2
PARTS = {"learner": "learner", "engine": "policy"}  # as they say it in Ray's logs


def node_of(cluster: PretendedCluster, part: str) -> str:
    """Beginning of the id of a node that has that, and not the learner too."""
    places = cluster.places()
    (learner,) = {node for one, node, _ in places if one == "learner"}
    return learner if part == "learner" else next(node for one, node, _ in places if one == part)


def lose(cluster: PretendedCluster, run: runs.Run, what: str, judge: runs.CountingJudge) -> dict[str, Any]:
    node = cluster.node_of_actor(LEDGER) if what == "ledger" else node_of(cluster, PARTS[what])
    told: dict[str, Any] = {"verdicts_stored_before": runs.stored(run.folder)}
    cluster.lose(node)
    cluster.add()
    came, moment = time.monotonic(), time.time()
    made = max(runs.steps(run.folder))
    run.wait_for_step(made + 1)
    told["next_step_after_the_replacement_s"] = round(time.monotonic() - came, 1)
    if what == "ledger":
        told["ledger_elsewhere"] = cluster.node_of_actor(LEDGER) != node
    if what == "engine":
        judge.delay_s = 4  # an engine takes its time to start
        following = (
            f"from deployments.actors.publications import following; print(*following({str(run.folder)!r}))"
        )
        run.wait_until(lambda: len(cluster.asked(following).split()) == ENGINES, 200, look_s=2)
        told["as_many_engines_again_s"] = round(time.monotonic() - came, 1)
        told["steps_made_meanwhile"] = max(runs.steps(run.folder)) - made
        judge.delay_s, ready = 0, cluster.engines_since(moment)
        run.wait_for_step(max(runs.steps(run.folder)) + 2)
        told["cpu_s_of_the_new_engine_in_two_steps"] = round(cluster.engines_since(moment) - ready, 1)
    return told


def take(cluster: PretendedCluster, run: runs.Run, seconds: float) -> dict[str, Any]:
    node, given = node_of(cluster, "learner"), time.monotonic()
    cluster.add()
    told: dict[str, Any] = {"notice": cluster.take(node, seconds).splitlines()[-1]}
    saved = run.wait_until(lambda: run.said().partition("about to be taken: step ")[2].partition(" ")[0])
    told["saved_step"] = int(saved)
    run.wait_for_step(int(saved) + 1, 300)
    told["next_step_after_the_notice_s"] = round(time.monotonic() - given, 1)
    return told


def outcome_of(cluster: PretendedCluster, options: argparse.Namespace, steps: int) -> dict[str, Any]:
    if options.lose == "ledger":
        cluster.hold_ledger(cluster.add(num_cpus=1, num_gpus=0).node_id)
    settings = [*SETTINGS, f"grpo.steps={steps}", f"policy.replicas={ENGINES}"]
    if options.notice:
        settings.append("grpo.save_every=100")
    with tempfile.TemporaryDirectory() as parent, runs.counting_judge() as judge:
        settings += judge.settings()
        with runs.Run(Path(parent) / "run", settings, RAY_ADDRESS=cluster.address) as run:
            run.wait_for_step(AFTER)
            places, happened = cluster.places(), {}
            if options.lose:
                happened = lose(cluster, run, options.lose, judge)
            if options.notice:
                happened = take(cluster, run, options.notice)
            report = run.finish()
        ids = runs.rollout_ids(run.folder)
        rows = runs.records(run.folder / "rollouts.jsonl")
        return happened | {
            "places": places,
            "places_since": list((Counter(cluster.places()) - Counter(places)).elements()),
            "steps": runs.steps(run.folder),
            "stopped": report["stopped"],
            "rollouts": len(ids),
            "rollouts_once": len(ids) == len(set(ids)),
            "missing": sum(row["fate"] == "missing" for row in rows),
            "verdicts_stored": runs.stored(run.folder),
            "questions_asked": len(judge.calls),
            "asked_twice": sum(count > 1 for count in judge.calls.values()),
            "said": [line for line in run.said().splitlines() if "waiting" in line or "taken" in line],
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--lose", choices=("learner", "engine", "ledger"))
    either.add_argument("--notice", type=float, metavar="SECONDS", help="until the node is taken")
    options, began = parser.parse_args(), time.monotonic()
    steps = 14 if options.lose == "engine" else 5
    with pretended_cluster(nodes=3, gpus=2) as cluster:
        outcome = outcome_of(cluster, options, steps)
    working = [place for place in outcome["places"] if place[0] in ("learner", "policy")]
    counted = Counter((node, gpu) for _, node, gpu in working)
    outcome |= {
        "disjoint": max(counted.values()) == 1 and len(working) == 2 + ENGINES,
        "learner_on_one_node": len({node for part, node, _ in working if part == "learner"}) == 1,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(outcome), flush=True)
    whole = (
        outcome["steps"] == list(range(1, steps + 1)) and outcome["rollouts_once"] and not outcome["missing"]
    )
    # every verdict is stored, and none that was stored is asked for again
    kept = outcome["verdicts_stored"] == outcome["questions_asked"] and not outcome["asked_twice"]
    fair = outcome["disjoint"] and outcome["learner_on_one_node"] and outcome.get("ledger_elsewhere", True)
    worked = outcome.get("cpu_s_of_the_new_engine_in_two_steps", 1) > 0.2
    return 0 if whole and kept and fair and worked else 1


if __name__ == "__main__":
    sys.exit(main())
