import numpy as np

from lesion_segmentation.data.sources.synthetic import annotations_text, synthesize_case


def test_same_number_and_seed_give_same_pixels():
    synthesize_case.cache_clear()
    first = synthesize_case(3)
    synthesize_case.cache_clear()
    again = synthesize_case(3)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(synthesize_case(3, seed=1).mask, first.mask)


def test_cases_vary_as_in_ph2():
    synthetic = [synthesize_case(number) for number in range(1, 61)]
    areas = np.array([case.mask.mean() for case in synthetic])
    edges = [np.concatenate([case.mask[0], case.mask[-1], case.mask[:, 0], case.mask[:, -1]]) for case in synthetic]
    touching = np.mean([edge.any() for edge in edges])
    assert areas.min() < 0.1
    assert areas.max() > 0.5
    assert 0.15 < areas.mean() < 0.4
    assert 0.1 < touching < 0.4
    assert len({case.mask.shape for case in synthetic}) > 3


def test_annotations_match_the_images(cases):
    assert cases["diagnosis"].value_counts().to_dict() == {"common nevus": 8, "atypical nevus": 8, "melanoma": 4}
    blue = cases["colors"].str.contains("blue gray")
    assert (cases.loc[blue, "blue_whitish_veil"] == "present").all()
    assert annotations_text(2).splitlines()[1].startswith("|| SYN001 ||")


def test_lesions_are_darker_than_the_skin():
    """The median over many cases is compared, since some lesions are faint."""
    contrast = [
        synthesize_case(n).image[synthesize_case(n).mask].mean()
        - synthesize_case(n).image[~synthesize_case(n).mask].mean()
        for n in range(1, 21)
    ]
    assert np.median(contrast) < -15


def test_annotations_are_made_without_images(monkeypatch):
    expected = [synthesize_case(number).codes["colors"] for number in (1, 2)]
    monkeypatch.setattr("lesion_segmentation.data.sources.synthetic.synthesize_case", None)
    text = annotations_text(2)
    assert all(f"{colors} " in text for colors in expected)
