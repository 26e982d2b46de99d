"""A program finds nothing of the host in its interpreter, also one that reaches all of it."""

import asyncio
import os
import platform
import sys
from pathlib import Path

import numpy

import valor_ray
from valor_ray.config.service import SandboxConfig
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult

SIZE = (640, 480)
REACH = """\
classes = ().__class__.__base__.__subclasses__()
os = [c for c in classes if c.__name__ == "_wrap_close"][0].__init__.__globals__
sys = os["sys"]
gc = sys.modules["gc"]
"""
EVERYTHING = """
gc.unfreeze()
seen, waiting, texts = set(), gc.get_objects() + [sys.modules], set()
while waiting:
    thing = waiting.pop()
    if id(thing) in seen:
        continue
    seen.add(id(thing))
    if isinstance(thing, str):
        texts.add(thing)
    elif type(thing) is type(sys._getframe().f_code):
        texts.add(thing.co_filename)
        waiting += thing.co_consts
    else:
        waiting += gc.get_referents(thing)
frame = sys._getframe()
while frame is not None:
    texts.add(frame.f_code.co_filename)
    texts |= set(map(str, frame.f_locals.values()))
    frame = frame.f_back
final_answer = sorted(text for text in texts for part in PARTS if part in text and "PARTS" not in text)[:30]
"""


def run(*codes: str) -> list[ProgramResult]:
    async def main() -> list[ProgramResult]:
        async with Sandbox(SandboxConfig(memory_mib=1024)) as sandbox:
            return [await sandbox.run(code, PlaceholderTools(SIZE), SIZE) for code in codes]

    return asyncio.run(main())


def test_no_text_in_the_process_names_the_host_the_driver_or_an_installed_file() -> None:
    ours, numpys = (str(Path(str(module.__file__)).parents[1]) for module in (valor_ray, numpy))
    parts = [ours, numpys, sys.prefix, str(Path(os.__file__).parent), platform.release()]
    (result,) = run(f"{REACH}PARTS = {parts!r}{EVERYTHING}")
    assert result.error is None
    assert set(result.answer) <= {*parts, str(parts)}  # the program's own


def test_what_tells_of_a_host_is_empty_or_refused() -> None:
    answers = {
        f"[t for t in gc.get_objects() if t == {os.getpid()}]": [],  # the driver's
        "str(np)": "<module 'numpy'>",
        "[sys.orig_argv, sys.argv, sys.path, dict(os['environ'])]": [[], [], [], {}],
        "[sys.executable, sys.prefix, sys.base_prefix, sys._stdlib_dir]": [None] * 4,
        "np.__file__ or np.__path__": [],
        "__import__('statistics').mean.__code__.co_filename": "<library>",
        "[m for m in sys.modules.values() if getattr(m, '__file__', None)]": [],
        "__import__('time').tzname": ["UTC", "UTC"],
    }
    results = run(*(f"{REACH}final_answer = {code}" for code in answers))
    assert [result.answer for result in results] == list(answers.values())
    for code in ("sys.modules['posix'].uname()", "sys.modules['_socket'].gethostname()"):
        (result,) = run(f"{REACH}final_answer = str({code})")
        assert result.status == "error" and "not permitted" in str(result.error)
