import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import rotate

from lesion_segmentation.training.augmentation import apply_augmentation, sample_augmentation
from lesion_segmentation.training.settings import OnlineAugmentationSettings

STILL = {
    "rotation": 0, "scale": 0, "shift": 0, "flip": False,
    "brightness": 0, "contrast": 0, "saturation": 0, "channel_gain": 0,
}  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(count: int = 4, height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """White lesions on black: the image shows the mask."""
    masks = torch.zeros(count, 1, height, width)
    row, column = height // 2, width // 2
    masks[:, :, row - 8 : row + 4, column - 12 : column + 6] = 1
    return masks.repeat(1, 3, 1, 1) * 255, masks


def test_zero_settings_change_nothing():
    images, masks = torch.rand(3, 3, 32, 40) * 255, (torch.rand(3, 1, 32, 40) > 0.5).float()
    new_images, new_masks = apply_augmentation(
        images, masks, sample_augmentation(3, 32, 40, OnlineAugmentationSettings(**STILL), generator())
    )
    assert torch.allclose(new_images, images, atol=1e-2)
    assert torch.equal(new_masks, masks)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_mask_and_image_move_together(seed):
    images, masks = blob()
    still_colors = {name: STILL[name] for name in ("brightness", "contrast", "saturation", "channel_gain")}
    parameters = sample_augmentation(
        4, 48, 64, OnlineAugmentationSettings(**still_colors, elastic=0.1 * (seed % 2)), generator(seed)
    )
    new_images, new_masks = apply_augmentation(images, masks, parameters)
    assert torch.equal(new_images[:, :1] > 127.5, new_masks > 0.5)
    assert set(new_masks.unique().tolist()) <= {0.0, 1.0}


def test_rotation_turns_by_the_sampled_degrees():
    images, masks = blob(1, 61, 61)
    parameters = sample_augmentation(1, 61, 61, OnlineAugmentationSettings(**(STILL | {"rotation": 40})), generator())
    # theta maps output to input pixels, so the lesion turns the other way.
    angle = -np.degrees(np.arctan2(float(parameters["theta"][0, 1, 0]), float(parameters["theta"][0, 0, 0])))
    assert 1 < abs(angle) <= 40
    turned = apply_augmentation(images, masks, parameters)[1][0, 0].numpy()
    # SciPy turns from the first axis (rows, downwards) to the second, which is clockwise on the screen.
    right, wrong = (rotate(masks[0, 0].numpy(), sign * -angle, reshape=False, order=1) > 0.5 for sign in (1, -1))
    assert (right != turned).mean() < 0.01
    assert (wrong != turned).mean() > 0.01


def test_rotation_keeps_the_area_in_images_that_are_not_square():
    """In stretched coordinates a rotation would change it. No reflection of the lesion enters these images."""
    images, masks = blob(16, 96, 120)
    turned = apply_augmentation(
        images,
        masks,
        sample_augmentation(16, 96, 120, OnlineAugmentationSettings(**(STILL | {"rotation": 180})), generator()),
    )[1]
    assert torch.allclose(turned.sum(dim=(1, 2, 3)), masks.sum(dim=(1, 2, 3)), rtol=0.02)


def test_shift_is_a_share_of_each_side():
    parameters = sample_augmentation(500, 40, 120, OnlineAugmentationSettings(**(STILL | {"shift": 0.1})), generator())
    pixels = parameters["theta"][:, :, 2] * torch.tensor([119, 39]) / 2  # normalized coordinates are -1 to 1
    assert pixels.abs().amax(dim=0).numpy() == pytest.approx([12, 4], rel=0.02)


def test_elastic_deformation_bends_within_its_limit():
    _, columns = torch.meshgrid(torch.arange(61.0), torch.arange(81.0), indexing="ij")
    images = columns[None, None].repeat(8, 3, 1, 1)
    parameters = sample_augmentation(8, 61, 81, OnlineAugmentationSettings(**(STILL | {"elastic": 0.05})), generator())
    bent = apply_augmentation(images, torch.zeros(8, 1, 61, 81), parameters)[0]
    moved = (bent - images)[:, :, 8:-8, 8:-8]
    assert 1 < moved.abs().max() < 0.05 * 80 * 1.3  # a bicubic surface slightly exceeds its control points
    assert moved.std(dim=(1, 2, 3)).min() > 0.2  # more than a shift


def test_hairs_are_dark_lines_in_the_image_only():
    images, masks = torch.full((6, 3, 96, 128), 200.0), torch.ones(6, 1, 96, 128)
    parameters = sample_augmentation(6, 96, 128, OnlineAugmentationSettings(**STILL, hairs=12), generator())
    painted, same = apply_augmentation(images, masks, parameters)
    covered = (painted[:, 0] < 195).float().mean(dim=(1, 2))
    counts = (parameters["hair_darkness"] > 0).sum(dim=1)
    assert torch.equal(same, masks)
    assert painted.max() <= 201
    assert ((counts == 0) == (covered == 0)).all()
    assert covered.max() < 0.3
    assert len(set(counts.tolist())) > 2
    fewer, none = (
        sample_augmentation(6, 96, 128, OnlineAugmentationSettings(**STILL, hairs=n), generator()) for n in (3, 0)
    )
    assert fewer["hair_darkness"].shape == (6, 3)
    assert "hair_darkness" not in none


def test_dark_corners_keep_the_center_and_clear_the_mask_under_them():
    images, masks = torch.full((200, 3, 48, 64), 200.0), torch.ones(200, 1, 48, 64)
    parameters = sample_augmentation(200, 48, 64, OnlineAugmentationSettings(**STILL, corners=0.5), generator())
    painted, cleared = apply_augmentation(images, masks, parameters)
    framed = parameters["corner_darkness"].flatten() > 0
    assert 0.4 < framed.float().mean() < 0.6
    assert torch.allclose(painted[~framed], images[~framed])
    assert torch.equal(cleared[~framed], masks[~framed])
    dark = painted[:, :1] < 100
    assert torch.equal(cleared == 0, dark)
    assert dark[framed][:, 0, 0, 0].float().mean() > 0.5
    assert not dark[:, :, 8:40, 12:52].any()


def test_disabled_augmentation_consumes_no_random_numbers():
    """Recipes without hairs, corners and elastic deformation train as before these existed."""
    plain = sample_augmentation(5, 32, 32, OnlineAugmentationSettings(), generator())
    more = sample_augmentation(5, 32, 32, OnlineAugmentationSettings(elastic=0.05, hairs=4, corners=0.5), generator())
    assert torch.equal(plain["theta"], more["theta"])
    assert torch.equal(plain["gain"], more["gain"])


def test_all_four_flips_occur():
    images, masks = blob(64)
    flipped = apply_augmentation(
        images,
        masks,
        sample_augmentation(64, 48, 64, OnlineAugmentationSettings(**(STILL | {"flip": True})), generator()),
    )[1]
    kinds = {
        kind
        for mask in flipped
        for kind, dims in enumerate(((), (1,), (2,), (1, 2)))
        if torch.equal(mask, masks[0].flip(dims))
    }
    assert kinds == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "channel_gain"])
def test_colors_change_in_the_image_only(name):
    images, masks = torch.rand(4, 3, 32, 40) * 255, (torch.rand(4, 1, 32, 40) > 0.5).float()
    parameters = sample_augmentation(4, 32, 40, OnlineAugmentationSettings(**(STILL | {name: 0.3})), generator())
    new_images, new_masks = apply_augmentation(images, masks, parameters)
    assert torch.equal(new_masks, masks)
    assert (new_images - images).abs().mean() > 1
    assert new_images.min() >= 0
    assert new_images.max() <= 255


def test_equal_seeds_sample_equal_parameters():
    one, two, other = (
        sample_augmentation(5, 32, 32, OnlineAugmentationSettings(), generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one["theta"], two["theta"])
    assert not torch.equal(one["theta"], other["theta"])
