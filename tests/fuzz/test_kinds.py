"""A question's kind, by its words: any text has one."""

from hypothesis import given
from hypothesis import strategies as st

from valor_ray.queries.kinds import kind_of


@given(st.text())
def test_every_text_has_a_kind(text: str):
    assert kind_of(text)
