import pytest

from valor_ray.program.parse import parse_reply

PLAN = "<plan>count</plan>"


def test_a_well_formed_reply_gives_plan_and_code() -> None:
    parsed = parse_reply(
        "<plan>\n1. count\n</plan>\n<answer>\nx = 1\nif x:\n    final_answer = x\n</answer>\n"
    )
    assert parsed.well_formed
    assert parsed.plan == "1. count"
    assert parsed.code == "x = 1\nif x:\n    final_answer = x"


@pytest.mark.parametrize(
    "answer",
    [
        "```python\nx = 1\n```",
        "```\nx = 1\n```",
        "\n```py\nx = 1\n```\n",
        "Here is the program:\n```python\nx = 1\n```\nIt sets x.",
        "   x = 1  ",
        "x = 1",
    ],
)
def test_fences_and_the_prose_around_them_are_stripped(answer: str) -> None:
    assert parse_reply(f"{PLAN}<answer>{answer}</answer>").code == "x = 1"


@pytest.mark.parametrize(
    "fenced",
    [
        'def f():\n    """\n    ```\n    f()\n    ```\n    """\nx = f',
        's = """\n```python\ny\n```\n"""\nx = s',
        'x = """\n```\n"""',
        "x = '''\n```\n```\n```\n'''",
        "# one\n\nx = 1",
    ],
)
def test_the_outermost_fences_count(fenced: str) -> None:
    for opening, closing in (
        ("```python", "```"),
        ("````", "````"),
        ("~~~py", "~~~~"),
        ("  ``` python", "  ```"),
    ):
        reply = f"{PLAN}<answer>\nHere:\n{opening}\n{fenced}\n{closing} \nDone.\n</answer>"
        assert parse_reply(reply).code == fenced
        assert parse_reply(reply.replace("\n", "\r\n")).code.split() == fenced.split()


def test_prose_without_a_fence_is_left_for_the_parser_to_refuse() -> None:
    assert parse_reply(f"{PLAN}<answer>Here:\nx = 1</answer>").code == "Here:\nx = 1"


def test_code_indented_as_a_whole_is_moved_left_and_texts_are_kept() -> None:
    assert parse_reply(f"{PLAN}<answer>\n  x = 1\n  y = 2\n</answer>").code == "x = 1\ny = 2"
    code = 'x = """a\n   \n  b"""'
    assert parse_reply(f"{PLAN}<answer>{code}</answer>").code == code


def test_thinking_and_text_around_the_blocks_are_passed_over() -> None:
    for before in ("<think>maybe <plan> or <answer></think>\n", "I think so.</think>", "Sure.\n"):
        parsed = parse_reply(f"{before}{PLAN}\nNow the code.\n<answer>x = 1</answer>\nDone.")
        assert (parsed.plan, parsed.code) == ("count", "x = 1")


@pytest.mark.parametrize(
    "draft",
    [
        "I draft <plan>a</plan></think>",
        "<plan>a</plan><answer>y = 2</answer></think>",
        "<think>one</think><plan>a</plan>no, again</think>",
        "<think>one</think> <think>two <answer></think>\n",
        "<thinking><plan></thinking>",
        "<THINK>a</THINK>",
        "[THINK]<plan>[/THINK]",
        "</think></think>",
    ],
)
def test_what_stands_after_the_last_thought_counts(draft: str) -> None:
    parsed = parse_reply(f"{draft}{PLAN}<answer>x = 1</answer>")
    assert (parsed.plan, parsed.code) == ("count", "x = 1")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no <plan> block"),
        ("final_answer = 1", "no <plan> block"),
        ("```python\nfinal_answer = 1\n```", "no <plan> block"),
        ("<answer>x</answer>", "no <plan> block"),
        (PLAN, "no <answer> block"),
        (f"{PLAN}{PLAN}<answer>x</answer>", "more than one <plan> block"),
        (f"{PLAN}<answer>x</answer><answer>y</answer>", "more than one <answer> block"),
        (f"{PLAN}<answer>x", "<answer> block is not closed"),
        ("<plan>count<answer>x</answer>", "<plan> block is not closed"),
        (f"{PLAN}x</answer>", "never opened"),
        ("<plan>a<answer>x</answer></plan>", "nested"),
        ("<answer>x<plan>a</plan></answer>", "nested"),
        ("<plan>a<answer></plan>x</answer>", "nested"),
        ("</plan>a<plan><answer>x</answer>", "closed before it is opened"),
        (f"{PLAN}</answer>x<answer>", "closed before it is opened"),
        (f"<answer>x</answer>{PLAN}", "comes before"),
        ("<plan> \n</plan><answer>x</answer>", "<plan> block is empty"),
        (f"{PLAN}<answer>\n </answer>", "<answer> block is empty"),
        (f"{PLAN}<answer>```python\n```</answer>", "<answer> block is empty"),
        (f"{PLAN}<answer>```python\nx = 1</answer>", "fence in the <answer> block is not closed"),
        (f"{PLAN}<answer>```\nx\n```\n```\ny\n```</answer>", "more than one code fence"),
        (f"{PLAN}<answer>```\nx\n```\n```python\ny\n```</answer>", "more than one code fence"),
        (f"{PLAN}<answer>```\nx\n```\n```python\n</answer>", "more than one code fence"),
        (f"{PLAN}<answer>````\nx\n```</answer>", "is not closed"),
        (f"{PLAN}<answer>```\nx\n~~~</answer>", "is not closed"),
        ("<think>hm", "<think> block is not closed"),
        (f"Well. <think>{PLAN}<answer>x</answer>", "<think> block is not closed"),
        (f"</think><think>{PLAN}<answer>x</answer>", "<think> block is not closed"),
        (f"<think>{PLAN}<answer>x</answer></think>", "no <plan> block"),
        ("<PLAN>a</PLAN><ANSWER>x</ANSWER>", "<PLAN> is no tag: write <plan> and </plan>"),
        (f'{PLAN}<answer lang="python">x</answer>', '<answer lang="python"> is no tag: write <answer>'),
        (f"{PLAN}<answer>x</Answer>", "</Answer> is no tag"),
        (f"{PLAN}< answer >x</ answer >", "< answer > is no tag"),
        ("<plan id=1>a</plan><answer>x</answer>", "<plan id=1> is no tag"),
        (f"{PLAN}<answer/>x", "<answer/> is no tag"),
    ],
)
def test_a_malformed_reply_says_why_and_gives_nothing_to_run(reply: str, reason: str) -> None:
    parsed = parse_reply(reply)
    assert not parsed.well_formed
    assert reason in str(parsed.error)
    assert (parsed.plan, parsed.code) == ("", "")
