"""Files with random damage, which are either read or refused with an InputError.

FUZZED=3000 tests more files. The damage is seeded.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from conftest import SYNTHETIC
from kedro.io import DatasetError
from PIL import Image

from lesion_project.cli import cli
from lesion_project.datasets import CaseArrays, Record, Table
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.data.cases import ImageSize, read_cases
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.data.sources.ph2 import import_ph2
from lesion_segmentation.evaluation.audit import audit_table
from lesion_segmentation.evaluation.score_bounds import AUDITED
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.training.checkpoints import CheckpointFile
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import TrainingSettings

SMALL = ImageSize(height=64, width=96)
FUZZED = int(os.environ.get("FUZZED", "60"))
READ, REFUSED = "read", "refused"
STRANGE = (
    None,
    True,
    -1,
    0,
    1e9,
    2**70,
    float("inf"),
    float("nan"),
    "",
    "nan",
    "a" * 300,
    [],
    [1],
    ["a", {}],
    {},
    {"a": 1},
)
NUMBERS = (
    "",
    "93.4",
    "0.5",
    "100",
    "inf",
    "-inf",
    "nan",
    "1e400",
    "²",
    "٣",
    "9" * 500,
    "1_0",
    "0x1p3",
    "-1",
    "\x00",
    "a,b",
    '"',
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def outcome_of(read: Callable[[], object]) -> str:
    try:
        read()
    except InputError:
        return REFUSED
    except DatasetError as error:  # Kedro wraps the errors of datasets, and the command line unwraps them
        if not isinstance(error.__cause__, InputError):
            raise
        return REFUSED
    return READ


def damage(content: bytes, generator: np.random.Generator, within: int | None = None) -> bytes:
    """Change some bytes, at most up to `within`, and sometimes truncate the file."""
    damaged = bytearray(content)
    for position in generator.integers(0, min(within or len(damaged), len(damaged)), generator.integers(1, 12)):
        damaged[position] = generator.integers(0, 256)
    if generator.random() < 0.2:
        del damaged[generator.integers(0, len(damaged)) :]
    return bytes(damaged)


def pick(generator: np.random.Generator, values: tuple[object, ...]) -> object:
    return values[generator.integers(0, len(values))]


def test_weights_with_damaged_bytes_are_read_or_refused(tmp_path, generator):
    path = tmp_path / "network.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 1 / 64})), path)
    whole = path.read_bytes()
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED):
        path.write_bytes(damage(whole, generator, within=4000 if generator.random() < 0.8 else None))
        outcomes[outcome_of(lambda: load_network(path))] += 1
    assert outcomes[REFUSED] > FUZZED / 4


def test_weights_with_strange_metadata_and_tensors_are_read_or_refused(tmp_path, generator):
    path = tmp_path / "network.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 1 / 64})), path)
    tensors, metadata = read_tensors(path)
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED):
        strange, kept = dict(metadata), dict(tensors)
        key = str(pick(generator, (*metadata, "unknown")))
        strange[key] = pick(generator, STRANGE)
        if generator.random() < 0.3:
            strange["options"] = {str(pick(generator, ("width", "unpooling", "x"))): pick(generator, STRANGE)}
        if generator.random() < 0.3:
            name = str(pick(generator, tuple(kept)))
            kept[name] = pick(generator, (torch.zeros(3), kept[name].to(torch.int64), kept[name].half()))
            del kept[str(pick(generator, tuple(kept)))]
        write_tensors(path, kept, strange)
        outcomes[outcome_of(lambda: load_network(path))] += 1
    assert outcomes[REFUSED] > FUZZED / 2


def test_deeply_nested_metadata_and_wrong_width_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 1 / 64})), path)
    tensors, metadata = read_tensors(path)
    for changed in ({"options": {"width": 4}}, {"source": [[]]}):
        write_tensors(path, tensors, {**metadata, **changed})
        with pytest.raises(InputError, match="not a network of this project, or damaged"):
            load_network(path)
    header = json.dumps({"__metadata__": {"options": "[" * 100_000}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="not a network of this project, or damaged"):
        load_network(path)


@pytest.fixture
def checkpoint(tmp_path, images, masks, cases):
    """Return the checkpoint of a finished training, and a function that resumes from it."""
    samples = pd.DataFrame({"sample_id": list(cases["case_id"][:4]), "subset": "train"})
    settings = TrainingSettings(width=1 / 64, epochs=1, batch_size=4)
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    fit(TrainingData(images, masks, samples), settings, checkpoint_file=file)
    resumed = settings.model_copy(update={"resume": True})
    return file, lambda: fit(TrainingData(images, masks, samples), resumed, checkpoint_file=file)


def test_checkpoints_with_strange_metadata_are_refused(checkpoint, generator):
    file, resume = checkpoint
    tensors, described = read_tensors(file.path)
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED // 4):
        key = str(pick(generator, ("values", "history", "configuration", "run_id", "format_version", "unknown")))
        strange = pick(generator, STRANGE)
        write_tensors(file.path, tensors, {**described, key: strange})
        outcomes[outcome_of(resume)] += 1 - (described.get(key) == strange)
    assert outcomes[READ] == 0


def test_checkpoints_with_strange_tensors_are_refused(checkpoint, generator):
    file, resume = checkpoint
    tensors, described = read_tensors(file.path)
    names = tuple(tensors)
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED // 4):
        name, changed = str(pick(generator, names)), dict(tensors)
        strange = (None, torch.zeros(3), torch.zeros(()), tensors[name].to(torch.int32), tensors[name].half())
        changed[name] = pick(generator, strange)
        kept = {name: tensor for name, tensor in changed.items() if tensor is not None}
        write_tensors(file.path, kept, described)
        same = name in kept and (kept[name].shape, kept[name].dtype) == (tensors[name].shape, tensors[name].dtype)
        outcomes[outcome_of(resume)] += 1 - same
    assert outcomes[READ] == 0
    write_tensors(file.path, tensors, described)
    assert outcome_of(resume) == READ


def test_damaged_images_are_read_or_refused(generator):
    case = synthetic.synthesize_case(1)
    buffer = BytesIO()
    Image.fromarray(case.image[:40, :40]).save(buffer, format="BMP")
    whole = buffer.getvalue()
    mask = Image.fromarray(case.mask[:40, :40])
    annotations = synthetic.annotations_text(1)
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED):
        content = damage(whole, generator, within=54)
        images = {"SYN001": lambda content=content: Image.open(BytesIO(content))}
        outcomes[
            outcome_of(
                lambda images=images: read_cases(images, {"SYN001": lambda: mask}, annotations, SMALL, SYNTHETIC)
            )
        ] += 1
    assert outcomes[REFUSED] > FUZZED / 4


@pytest.mark.parametrize(("kind", "name"), [(CaseArrays, "arrays.npz"), (Table, "table.csv"), (Record, "record.json")])
def test_damaged_intermediate_files_are_read_or_refused(kind, name, tmp_path, generator):
    dataset = kind(filepath=str(tmp_path / name))
    table = pd.DataFrame({"case_id": ["001", "NA"], "dice": [0.5, 0.25]})
    dataset.save(
        {"a": np.eye(5), "b": np.ones(3)} if kind is CaseArrays else table if kind is Table else {"a": [1, {}]}
    )
    whole = (tmp_path / name).read_bytes()
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED):
        (tmp_path / name).write_bytes(damage(whole, generator))
        outcomes[outcome_of(lambda: load_all(dataset))] += 1
    assert outcomes[REFUSED] > 0


def load_all(dataset):
    loaded = dataset.load()
    return dict(loaded) if isinstance(dataset, CaseArrays) else loaded


def test_arrays_of_strings_or_larger_than_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, a=np.array(["text"]))
    with pytest.raises(InputError, match="a has the type <U4, expected numbers"):
        dict(CaseArrays(str(path)).load())
    np.savez_compressed(path, a=np.zeros(10_000_000, np.uint8))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr("lesion_project.datasets.arrays.free_memory", lambda: 5_000_000)
    with pytest.raises(InputError, match=r"a of .*arrays\.npz unpacks to 0\.0 GB, but 0\.0 GB of memory are free"):
        dict(CaseArrays(str(path)).load())


def test_strange_published_tables_are_read_or_refused(generator):
    outcomes: Counter[str] = Counter()
    for _ in range(FUZZED):
        rows = [{name: pick(generator, NUMBERS) for name in ("name", *AUDITED, "n", "averaging")} for _ in range(2)]
        if generator.random() < 0.3:
            rows = [{**row, "n": "", "averaging": ""} for row in rows]
        outcomes[outcome_of(lambda rows=rows: audit_table(pd.DataFrame(rows)))] += 1
    assert outcomes[REFUSED] > FUZZED / 2


def test_named_pipe_is_refused_as_table(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    done = CliRunner().invoke(cli, ["audit", str(tmp_path / "pipe.csv")])
    assert done.exit_code == 1
    assert "is not a regular file" in done.output


def test_import_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(InputError, match="file"):
        import_ph2(source, tmp_path / "file" / "ph2")
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["file", "source"]


def test_import_from_folder_without_permission_is_refused(tmp_path, monkeypatch):
    def refuse(folder: Path, pattern: str) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "rglob", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        import_ph2(tmp_path, tmp_path.parent / "elsewhere" / "ph2")
