from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.training.samples import count_samples_per_epoch, require_sources, sample_order

SOURCES = ["PH2"] * 20 + ["ISIC 2018"] * 100


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    counts=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seen=st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)),
    seed=st.integers(0, 1000),
)
def test_images_of_a_source_are_seen_equally_often(counts, seen, seed):
    sources = ["a"] * counts[0] + ["b"] * counts[1]
    wanted = dict(zip("ab", seen, strict=True))
    times = Counter(sample_order(sources, wanted, generator(seed)).tolist())
    for name in "ab":
        own = [times[number] for number, source in enumerate(sources) if source == name]
        assert sum(own) == max(1, round(len(own) * wanted[name])) == count_samples_per_epoch(sources, wanted)[name]
        assert max(own) - min(own) <= 1


def test_order_without_source_rates_is_a_permutation():
    assert torch.equal(sample_order(SOURCES, {}, generator()), torch.randperm(120, generator=generator()))


def test_sampled_images_change_between_epochs():
    one, same, other = (set(sample_order(SOURCES, {"ISIC 2018": 0.25}, generator(seed)).tolist()) for seed in (0, 0, 1))
    assert one == same != other
    assert len(one) == 20 + 25


def test_unknown_source_is_refused():
    with pytest.raises(InputError, match="source_rates has ISIC, expected some of: ISIC 2018, PH2"):
        require_sources({"ISIC": 1, "PH2": 2}, SOURCES)
