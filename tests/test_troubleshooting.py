"""docs/troubleshooting.md quotes what is really printed, with … where values go; docs/security.md what is so."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from valor_ray.config.tree import described_keys

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
HOLE = "…"


def quoted() -> list[str]:
    """The first of each row's cells, as far as it is in backticks."""
    rows = re.findall(r"^\| (`.*?) \| .* \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


@cache
def printed() -> tuple[str, ...]:
    """All texts of the source, with holes for what is put into them."""
    texts = []
    for folder in ("valor_ray", "deployments", "jobs"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts += [
                _text(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)
            ]
    return tuple(text for text in texts if len(text) > 5)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else HOLE


def is_printed(text: str) -> bool:
    """Whether its parts between the holes follow each other in one text of the source."""
    parts = [re.escape(part) for part in text.split(HOLE) if part.strip()]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    return any(pattern.search(known) for known in printed())


@pytest.mark.parametrize("text", quoted())
def test_what_is_quoted_is_what_is_printed(text: str) -> None:
    assert is_printed(text) or is_printed(re.sub(r"'\w+'", HOLE, text))


def test_the_check_sees_what_is_not_printed() -> None:
    assert len(quoted()) > 60
    assert not is_printed("Cannot listen anywhere …") and not is_printed("There are … questions and a step")


def test_settings_that_are_named_exist() -> None:
    known = {key for key, _ in described_keys()}
    sections = {key.partition(".")[0] for key in known}
    named = re.findall(r"`(\w+\.\w+)`", PAGE.read_text(encoding="utf-8"))
    assert {name for name in named if name.partition(".")[0] in sections} - known == set()


@pytest.mark.parametrize("page", ["troubleshooting", "security"])
def test_files_that_are_named_exist(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for link, quoted_path in re.findall(
        r"\]\(([^):#]+)\)|`((?:valor_ray|tests|docs|requirements)/[\w./]*)`", text
    ):
        assert ((ROOT / "docs" / link) if link else (ROOT / quoted_path)).exists(), link or quoted_path


def test_no_code_of_a_model_or_a_pickle_is_run() -> None:
    """As docs/security.md promises."""
    told = re.compile(
        r"trust_remote_code|allow_pickle(?!=False)|weights_only=False|torch\.load\((?!.*weights_only=True)"
    )
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "valor_ray").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if told.search(line)
    ]
    assert found == []


def test_a_text_says_one_thing() -> None:
    assert len(set(quoted())) == len(quoted())
