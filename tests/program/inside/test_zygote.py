"""What the zygote loads: each module of it is memory and time of every program, and code within a program's reach."""

import json
import subprocess
import sys
from pathlib import Path

import numpy

import valor_ray
from valor_ray.program import zygote_process

LOAD = (
    "import json, sys; sys.path[:0] = sys.argv[1:]; import valor_ray.program.inside.zygote;"
    " print(json.dumps(sorted(sys.modules)))"
)
OURS = {
    "valor_ray",
    "valor_ray.errors",
    "valor_ray.ports",
    "valor_ray.records",
    "valor_ray.tools",
    "valor_ray.untrusted",
    "valor_ray.untrusted.cut",
    "valor_ray.untrusted.decode",
    "valor_ray.program",
    "valor_ray.program.inside",
    "valor_ray.program.inside.channel",
    "valor_ray.program.inside.scene_words",
    "valor_ray.program.inside.scene_world",
    "valor_ray.program.inside.child",
    "valor_ray.program.inside.namespace",
    "valor_ray.program.inside.placeholders",
    "valor_ray.program.inside.protocol",
    "valor_ray.program.inside.values",
    "valor_ray.program.inside.execution",
    "valor_ray.program.inside.warm",
    "valor_ray.program.inside.warm.residue",
    "valor_ray.program.inside.warm.run",
    "valor_ray.program.inside.warm.worker",
    "valor_ray.program.inside.wrap",
    "valor_ray.program.inside.zygote",
    "valor_ray.program.walls",
    "valor_ray.program.walls.host",
    "valor_ray.program.walls.lockdown",
    "valor_ray.program.walls.memory",
    "valor_ray.program.walls.seccomp",
}


def test_the_zygote_loads_the_standard_library_numpy_and_a_few_files_of_ours() -> None:
    roots = [str(Path(module.__file__ or "").parents[1]) for module in (valor_ray, numpy)]
    command = [sys.executable, *zygote_process._FLAGS, "-c", LOAD, *roots]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {name for name in loaded if name.startswith("valor_ray")} == OURS
    packages = {name.partition(".")[0] for name in loaded} - {"__main__"} - set(sys.stdlib_module_names)
    assert packages == {"valor_ray", "numpy"}
