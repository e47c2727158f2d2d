"""Images and predictions in object stores: the same masks and tables as on a local disk, also after a kill."""

import logging
import secrets

import fsspec
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kill import WorkerKiller

from lesion_project.cli import cli
from lesion_segmentation.cli import SOME_FAILED, main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import find_location, fingerprint, hide_passwords, to_storage_path
from lesion_segmentation.prediction import PredictionStore, list_input_images, shards
from lesion_segmentation.prediction.description import COLUMNS
from lesion_segmentation.prediction.input_images import ImageFile

KEYS = {"key": "lab", "secret": "very-secret"}


@pytest.fixture(scope="module")
def s3_server():
    pytest.importorskip("s3fs", reason="s3fs comes with pip install '.[scale]'")
    server = pytest.importorskip("moto.server", reason="moto comes with pip install '.[dev]'")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """Create an empty bucket with credentials in fsspec's configuration."""
    options = {**KEYS, "client_kwargs": {"endpoint_url": s3_server}}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    name = f"lab-{secrets.token_hex(4)}"
    fsspec.filesystem("s3").mkdir(name)
    return name


def put(folder, bucket):
    fsspec.filesystem("s3").put(str(folder), f"{bucket}/in", recursive=True)
    return f"s3://{bucket}/in"


def masks_of(location):
    folder = to_storage_path(find_location(str(location)))
    return {name: (folder / name).read() for name in folder.list() if name.endswith("_mask.png")}


def predict(source, target, weights, *options, status=SOME_FAILED):
    result = CliRunner().invoke(main, ["predict", str(source), str(target), "--weights", str(weights), *options])
    assert result.exit_code == status, result.output
    return result.output


def table_of(target):
    return PredictionStore(find_location(str(target))).read_tables().table.drop(columns="seconds")


def parts_of(target):
    names = to_storage_path(find_location(str(target))).list()
    return [name for name in names if name.startswith(".predictions/") and name.endswith(".jsonl")]


@pytest.fixture
def alone(many_images, tmp_path):
    """Return the masks and the table that a single process writes to a local folder."""
    predict(many_images[0], tmp_path / "alone", many_images[1])
    return masks_of(tmp_path / "alone"), table_of(tmp_path / "alone")


def require_same(found, alone):
    masks, table = alone
    assert masks_of(found) == masks
    pd.testing.assert_frame_equal(table_of(found), table)


@pytest.mark.long
def test_s3_equals_local_folder_and_resumes(many_images, alone, bucket):
    source, target = put(many_images[0], bucket), f"s3://{bucket}/out"
    output = predict(source, target, many_images[1])
    assert f"40 images are finished: s3://{bucket}/out/predictions.csv" in output
    assert f"1 image could not be predicted: s3://{bucket}/out/failures.csv" in output
    require_same(target, alone)
    folder = find_location(target)
    header, *rows = (folder / "predictions.csv").read().decode().splitlines()
    assert (header.split(","), len(rows)) == (list(COLUMNS), 40)
    assert KEYS["secret"] not in "".join(name + str((folder / name).read()) for name in folder.list())
    # The unreadable file is replaced by an image, and another image by a different one.
    fs, images = fsspec.filesystem("s3"), sorted(many_images[0].rglob("*.png"))
    fs.put(str(images[1]), f"{bucket}/in/bad.png")
    fs.put(str(images[2]), f"{bucket}/in/{images[1].relative_to(many_images[0])}")
    before = {name: info["LastModified"] for name, info in folder.list().items()}
    predict(source, target, many_images[1], status=0)
    tables = PredictionStore(folder).read_tables()
    assert len(tables.table) == tables.table["image"].nunique() == 41
    assert tables.failures.empty
    after = {name: info["LastModified"] for name, info in folder.list().items()}
    changed, like = (
        f"{image.relative_to(many_images[0]).as_posix().removesuffix('.png')}_mask.png" for image in images[1:3]
    )
    assert (folder / changed).read() == (folder / like).read()
    made = {name for name in after if name.endswith("_mask.png") and after[name] != before.get(name)}
    assert made <= {"bad_mask.png", changed}


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_workers_on_s3_equal_single_process_after_kill(many_images, alone, bucket, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")
    monkeypatch.setattr(shards, "SHARD_SIZE", 10)
    source, target = put(many_images[0], bucket), f"s3://{bucket}/out"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pids = {worker.worker_address: worker.pid for worker in cluster.workers.values()}
        watcher = distributed.Client(cluster)

        def find_busy_worker():
            if not any("_mask" in name for name in find_location(target).list()):
                return 0
            return next((pids.get(address, 0) for address, keys in watcher.processing().items() if keys), 0)

        killer = WorkerKiller(find_busy_worker)
        killer.start()
        predict(source, target, many_images[1], "--scheduler", cluster.scheduler_address)
        watcher.close()
    assert killer.killed
    require_same(target, alone)
    assert len(parts_of(target)) >= 5


@pytest.mark.long
def test_workers_of_scheduler_write_to_local_folder(many_images, alone, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")
    monkeypatch.setattr(shards, "SHARD_SIZE", 15)
    target = tmp_path / "out"
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        output = predict(many_images[0], target, many_images[1], "--scheduler", cluster.scheduler_address)
    assert f"1 image could not be predicted: {target / 'failures.csv'}" in output
    require_same(target, alone)
    assert len(parts_of(target)) == 3
    assert not list(target.rglob("*unfinished*"))
    predict(many_images[0], target, many_images[1])  # resumes without the scheduler
    require_same(target, alone)


@pytest.mark.long
@pytest.mark.long
def test_kedro_predict_uses_credentials_and_logs_no_address(
    project, many_images, alone, bucket, s3_server, monkeypatch
):
    from mlflow import MlflowClient

    source, target = put(many_images[0], bucket), f"s3://{bucket}/out"
    monkeypatch.delitem(fsspec.config.conf, "s3")
    lines = ["s3:", "  key: lab", "  secret: very-secret", "  client_kwargs:", f"    endpoint_url: {s3_server}"]
    (project / "conf" / "local" / "credentials.yml").write_text("\n".join(lines))
    bootstrap_project(project)
    result = CliRunner().invoke(cli, ["predict", source, target, "--weights", str(many_images[1])])
    assert result.exit_code == SOME_FAILED, result.output
    require_same(target, alone)
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ph2-segnet-prediction").experiment_id])
    assert (run.data.metrics["images"], run.data.metrics["failed"]) == (40, 1)
    assert not [word for word in (bucket, "very-secret") if word in str(run.to_dictionary())]


def test_fingerprint_depends_on_size_and_marks_of_change():
    infos = [{"size": 9, "ETag": "a"}, {"size": 9, "ETag": "b"}, {"size": 8, "ETag": "a"}, {"size": 9, "mtime": 1.5}]
    assert len({fingerprint(each) for each in infos}) == len(infos)
    assert fingerprint({"size": 9, "ETag": "a", "StorageClass": "cold"}) == fingerprint({"size": 9, "ETag": "a"})


def test_unusable_storage_is_explained(many_images, bucket, tmp_path, monkeypatch):
    folder, weights = many_images
    output = predict("s3://no-such-bucket/in", tmp_path / "out", weights, status=1)
    assert "s3://no-such-bucket/in" in output
    assert "Traceback" not in output
    assert "nowhere://x cannot be used" in predict("nowhere://x", tmp_path / "out", weights, status=1)
    assert "lies in" in predict(f"s3://{bucket}/in", f"s3://{bucket}/in/out", weights, status=1)
    assert "--truth needs OUT on this machine" in predict(
        folder, f"s3://{bucket}/out", weights, "--truth", str(folder), status=1
    )
    nobody = {
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", {**KEYS, **nobody})
    assert "cannot be used" in predict(f"s3://{bucket}/in", tmp_path / "out", weights, status=1)


@pytest.mark.long
def test_outage_of_store_is_no_failure_of_images(many_images, alone, bucket, monkeypatch):
    source, target = put(many_images[0], bucket), f"s3://{bucket}/out"
    fs, fetched = fsspec.filesystem("s3"), []
    fetch = fs.cat_file

    def fail_later(path, **options):
        fetched.append(path)
        if "/in/" in path and len(fetched) > 20:
            raise TimeoutError("no answer")
        return fetch(path, **options)

    monkeypatch.setattr(fs, "cat_file", fail_later)
    output = predict(source, target, many_images[1], status=1)
    assert "cannot be used (no answer)" in output
    assert "Traceback" not in output
    monkeypatch.setattr(fs, "cat_file", fetch)
    predict(source, target, many_images[1])
    require_same(target, alone)


@pytest.mark.long
def test_workers_in_another_folder_or_without_access(many_images, alone, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        monkeypatch.chdir(tmp_path)
        options = ("--scheduler", cluster.scheduler_address)
        predict("in", "out [1]", many_images[1], *options)
        require_same(tmp_path / "out [1]", alone)
        (tmp_path / "file").write_text("no folder")
        output = predict("in", "file/out", many_images[1], *options, status=1)
        assert "Not a directory" in output
        predict("in", "alone", many_images[1], *options)  # a folder of a single process
        require_same(tmp_path / "alone", alone)


def test_invalid_keys_are_refused_and_folder_markers_ignored(bucket):
    fs, folder = fsspec.filesystem("s3"), find_location(f"s3://{bucket}/in")
    for key in ("in/", "in/a.png"):
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=b"x")
    assert [image.name for image in list_input_images(folder)] == ["a.png"]
    fs.call_s3("put_object", Bucket=bucket, Key="in/b/../../c.png", Body=b"x")
    with pytest.raises(InputError, match=r"not valid file paths: 1 problem\n  - b/\.\./\.\./c\.png"):
        list_input_images(folder)


def test_passwords_are_hidden():
    assert hide_passwords("postgresql://lab:pw@db/x") == "postgresql://lab:***@db/x"
    assert hide_passwords("https://token@host/x, https://lab:pw@host") == "https://***@host/x, https://lab:***@host"
    assert hide_passwords("s3://bucket/a:b@c") == "s3://bucket/a:b@c"
    with pytest.raises(InputError, match=r"ftp://me:\*\*\*@127\.0\.0\.1:9/x cannot be used"):
        find_location("ftp://me:secret@127.0.0.1:9/x")


def test_other_files_and_other_provenance_on_s3_are_refused(bucket):
    folder = find_location(f"s3://{bucket}/out")
    image = ImageFile(folder, "a.png", (1, 2))
    (folder / "a_mask.png").write(b"mine")
    with pytest.raises(InputError, match="would be overwritten"):
        PredictionStore(folder).claim({"weights": "a"}, images=[image])
    assert set(folder.list()) == {"a_mask.png"}
    folder.fs.rm_file(f"{folder.path}/a_mask.png")
    PredictionStore(folder).claim({"weights": "a"}, images=[image])
    with pytest.raises(InputError, match="weights: a there, b now"):
        PredictionStore(folder).claim({"weights": "b"}, images=[image])


def test_provenance_is_created_exclusively(bucket, monkeypatch):
    folder = find_location(f"s3://{bucket}/out")
    PredictionStore(folder).claim({"weights": "a"})
    monkeypatch.setattr("lesion_segmentation.core.storage.StoragePath.exists", lambda self: False)
    with pytest.raises(InputError, match="weights: a there, b now"):  # both saw no record and wrote one
        PredictionStore(folder).claim({"weights": "b"})


def test_single_remote_file_is_an_image(many_images, bucket):
    put(many_images[0], bucket)
    (only,) = list_input_images(find_location(f"s3://{bucket}/in/ward 0/000.png"))
    assert only.name == "000.png"
    assert only.fingerprint[0] == (many_images[0] / "ward 0" / "000.png").stat().st_size
