"""Time a training step of the same network in Keras: `python benchmarks/keras_step.py`.

This needs an environment with TensorFlow, which is not a dependency of the project:
`python -m venv keras && keras/bin/pip install tensorflow-cpu`.
"""

import argparse
import sys

import keras
import numpy as np
from busy import print_times  # a module of this folder, since the project is not installed in that environment
from keras import layers

HEIGHT, WIDTH = 192, 256
# Channels as in lesion_segmentation/model/segnet.py, in multiples of the base.
ENCODER = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
DENSE = 16
DECODER = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1,))


def block(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Apply a 3 x 3 convolution, batch norm and ReLU."""
    x = layers.Conv2D(channels, 3, padding="same")(x)
    return layers.ReLU()(layers.BatchNormalization(epsilon=1e-3)(x))


def build(width: float) -> keras.Model:
    """Build SegNet-v2 as published, with nearest unpooling and a batch norm on the logit."""
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
    parser.add_argument("--serve", choices=["training", "prediction"], help="make a call for each line of the input")
    options = parser.parse_args()
    keras.mixed_precision.set_global_policy(options.precision)
    network = build(options.width)
    network.compile(keras.optimizers.AdamW(2e-3), "binary_crossentropy")
    pixels = np.random.default_rng(0).integers(0, 256, (options.batch, HEIGHT, WIDTH, 3)).astype(np.float32)
    masks = (pixels[..., :1] > 127).astype(np.float32)
    if options.serve is None:
        print_times(f"Keras, {options.precision}", lambda: network.train_on_batch(pixels, masks), options.batch)
    for _ in sys.stdin if options.serve else ():
        network.train_on_batch(pixels, masks) if options.serve == "training" else network.predict_on_batch(pixels)
        print(flush=True)


if __name__ == "__main__":
    main()
