"""How fast training and inference are, as ratios to the arithmetic at the machine's own matrix-multiply rate."""
