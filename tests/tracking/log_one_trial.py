"""A trial without training: it logs each epoch and, at its end, a file."""

import sys
import time
from pathlib import Path

from lesion_project.tracking.description import Description
from lesion_project.tracking.run import TrackedRun
from lesion_project.tracking.store import PATIENCE_SECONDS, probe

uri, number, folder, epochs = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
probe(uri, PATIENCE_SECONDS)
run = TrackedRun(uri, "eight-at-once", folder, Description(f"trial_{number}", {"trial": str(number)}))
run.log_parameters({"training": {"learning_rate": number / 1000, "loss": "bce_dice"}})
(folder / f"started_{number}").touch()
for epoch in range(1, epochs + 1):
    run.log_epoch({"epoch": epoch, "train_dice": number + epoch / 1000, "validation_dice": number - epoch / 1000})
    time.sleep(0.2)
table = folder / f"scores_{number}.csv"
table.write_text(f"dice\n{number}\n")
run.log_artifact(table)
run.end("FINISHED")
assert run.flush(PATIENCE_SECONDS) is None
