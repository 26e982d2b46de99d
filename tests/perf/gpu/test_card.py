"""The peaks that a card's speed is measured against."""

import pytest

from valor_ray.perf.gpu.card import Card, published_peaks


@pytest.mark.parametrize(
    ("name", "bfloat16"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_a_card_has_the_peak_of_its_name(name: str, bfloat16: float) -> None:
    peaks = published_peaks(name)
    assert peaks is not None and peaks["bfloat16"] == bfloat16 and peaks["float32"] < bfloat16


def test_a_card_that_is_not_in_the_table_has_no_share_of_a_peak() -> None:
    assert published_peaks("NVIDIA B200") is None
    assert Card("cuda", "NVIDIA B200", 178.0, "10.0", None).share_of_peak("bfloat16", 1e12) is None


def test_the_share_is_of_the_peak_of_the_type_that_is_multiplied() -> None:
    card = Card("cuda", "NVIDIA A100-SXM4-80GB", 79.3, "8.0", published_peaks("NVIDIA A100-SXM4-80GB"))
    assert card.share_of_peak("bfloat16", 156e12) == 0.5 and card.share_of_peak("float32", 1.95e12) == 0.1
