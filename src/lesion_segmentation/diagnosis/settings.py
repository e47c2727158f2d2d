"""Names in the tables of the diagnosis, which pages and pipelines use without importing scikit-image and torch."""

MASKS = {
    "expert": "experts' masks",
    "predicted": "predicted masks",
    "none": "no mask (whole image)",
    "circle": "random circle of the same area",
}
"""Masks under which features are measured. Differences are those from the first."""

FEATURES = {
    "asymmetry_major": "share of the mask not covered by its mirror image about the major axis",
    "asymmetry_minor": "the same about the minor axis",
    "compactness": "squared perimeter (Crofton) divided by 4 pi times the area; 1 for a disc",
    "solidity": "area divided by that of the convex hull",
    "eccentricity": "eccentricity of the ellipse with the same second moments",
    "border_gradient": "mean Sobel gradient of the lightness on the border",
    "border_gradient_deviation": "standard deviation of the same",
    "lightness": "mean of L* in the mask",
    "green_red": "mean of a* in the mask",
    "blue_yellow": "mean of b* in the mask",
    "lightness_deviation": "standard deviation of L* in the mask",
    "green_red_deviation": "standard deviation of a* in the mask",
    "blue_yellow_deviation": "standard deviation of b* in the mask",
    "lightness_contrast": "mean of L* in the mask minus that outside",
    "green_red_contrast": "the same for a*",
    "blue_yellow_contrast": "the same for b*",
    "colors": "number of the six colours of the ABCD rule that are nearest to at least 5% of the pixels",
    "area": "area of the mask as a fraction of the image",
    "diameter": "maximum Feret diameter divided by the diagonal of the image",
    "texture_contrast": "contrast of the co-occurrence matrix of L*",
    "texture_homogeneity": "homogeneity of the same",
    "texture_entropy": "entropy of the same, in bits",
}
"""Names and meanings, in the order of `features.measure_lesion`. L*, a* and b* are those of CIELAB."""

ENCODER = "encoder_"
"""Beginning of the names of the encoder's features."""
HANDCRAFTED, WITH_ENCODER = "handcrafted", "with encoder"
"""Sets of features: FEATURES, alone and with those of the encoder."""
MELANOMA = "melanoma"
