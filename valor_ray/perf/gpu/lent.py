"""Stand-ins for `datasets` and pyarrow (48 MB), which trl imports for data that the learner never loads by them.

The learner's data set only counts steps. Where the packages are missing their names are lent, so that trl's trainer
imports and runs; where they are installed nothing is lent.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Self


class Dataset:
    """Rows in memory: as much of `datasets.Dataset` as a trainer asks for."""

    cache_files: tuple[Any, ...] = ()  # files it was read from

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = columns

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[Any]]) -> Self:
        return cls(columns)

    @property
    def column_names(self) -> list[str]:
        return list(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {name: values[place] for name, values in self._columns.items()}


class _Never:
    """A type that nothing here is an instance of."""


_NAMES: dict[str, dict[str, Any]] = {
    "datasets": {
        "Dataset": Dataset,
        "DatasetDict": _Never,
        "IterableDataset": _Never,
        "IterableDatasetDict": _Never,
    },
    "pyarrow": {"Array": _Never, "Table": _Never},
    "pyarrow.compute": {},
    "pyarrow.types": {},
}


def import_learner() -> list[str]:
    """Import our trainer and trl below it; the names of the packages that had to be lent for it."""
    missing = [name for name in ("datasets", "pyarrow") if find_spec(name) is None]
    lent = (
        ["datasets", "pyarrow"] if "pyarrow" in missing else missing
    )  # datasets does not import without pyarrow
    import pandas  # noqa: F401  # first: it would take a lent pyarrow for a real one

    for name, names in _NAMES.items():
        if name.split(".")[0] in lent:
            sys.modules[name] = _module(name, names)
    import valor_ray.reasoning.learner.grpo_trainer  # noqa: F401

    for name in _NAMES:  # datasets stays: the learner makes one
        if name.split(".")[0] == "pyarrow" and "pyarrow" in lent:
            del sys.modules[name]
    return lent


def _module(name: str, names: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(names, __version__="0")
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module
