"""`python benchmarks/keras_step.py`, in an environment with TensorFlow: the same network's training step in Keras.

TensorFlow is no dependency of this project: python -m venv keras && keras/bin/pip install tensorflow-cpu
"""

import argparse

import keras
import numpy as np
from busy import tell  # beside this file: the project's package is not in that environment
from keras import layers

HEIGHT, WIDTH = 192, 256
# As in lesion_segmentation/model/segnet.py, in units of the base.
ENCODER = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
DENSE = 16
DECODER = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1,))


def block(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """3 x 3 convolution, batch norm, ReLU."""
    x = layers.Conv2D(channels, 3, padding="same")(x)
    return layers.ReLU()(layers.BatchNormalization(epsilon=1e-3)(x))


def build(width: float) -> keras.Model:
    """SegNet-v2 with nearest unpooling and a batch norm on the logit, as published."""
    base = round(64 * width)
    pixels = x = layers.Input((HEIGHT, WIDTH, 3))
    for stage in ENCODER:
        for unit in stage:
            x = block(x, unit * base)
        x = layers.MaxPooling2D()(x)
    for _ in range(2):
        x = layers.Conv2D(DENSE * base, 1, activation="relu")(x)
    for stage in DECODER:
        x = layers.UpSampling2D()(x)
        for unit in stage:
            x = block(x, unit * base)
    x = layers.BatchNormalization(epsilon=1e-3)(layers.Conv2D(1, 3, padding="same")(x))
    return keras.Model(pixels, layers.Activation("sigmoid", dtype="float32")(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    given = parser.parse_args()
    keras.mixed_precision.set_global_policy(given.precision)
    network = build(given.width)
    network.compile(keras.optimizers.AdamW(2e-3), "binary_crossentropy")
    pixels = np.random.default_rng(0).integers(0, 256, (given.batch, HEIGHT, WIDTH, 3)).astype(np.float32)
    masks = (pixels[..., :1] > 127).astype(np.float32)
    tell(f"Keras, {given.precision}", lambda: network.train_on_batch(pixels, masks), given.batch)


if __name__ == "__main__":
    main()
