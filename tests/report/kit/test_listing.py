"""Programs as HTML."""

from valor_ray.report.kit.listing import listing


def test_listing_colours_words_and_keeps_the_text() -> None:
    shown = listing("if a < 2:  # if\n    b = 'for'\n")
    assert '<span class="k">if</span> a &lt; <span class="n">2</span>' in shown
    assert '<span class="c"># if</span>' in shown
    assert '<span class="s">&#x27;for&#x27;</span>' in shown
    assert shown.count('class="row"') == 2
