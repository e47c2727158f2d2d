"""Pictures and predictions in places such as s3://: the masks of a plain folder, parts of one table, kills survived."""

import json
import logging
import secrets
import shutil

import fsspec
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kill import WorkerKiller

from lesion_project.cli import cli
from lesion_segmentation.cli import SOME_FAILED, main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import find_location, fingerprint, hide_passwords, place_of
from lesion_segmentation.prediction import shards
from lesion_segmentation.prediction.description import COLUMNS
from lesion_segmentation.prediction.input_images import ImageFile, list_input_images
from lesion_segmentation.prediction.parts import PredictionParts, read_parts
from lesion_segmentation.prediction.provenance import join_folder

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
    """An empty bucket, whose keys fsspec knows."""
    options = {**KEYS, "client_kwargs": {"endpoint_url": s3_server}}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    name = f"lab-{secrets.token_hex(4)}"
    fsspec.filesystem("s3").mkdir(name)
    return name


def put(folder, bucket):
    fsspec.filesystem("s3").put(str(folder), f"{bucket}/in", recursive=True)
    return f"s3://{bucket}/in"


def masks_of(location):
    place = place_of(find_location(str(location)))
    return {name: (place / name).read() for name in place.list() if name.endswith("_mask.png")}


def predict(source, target, weights, *options, status=SOME_FAILED):
    result = CliRunner().invoke(main, ["predict", str(source), str(target), "--weights", str(weights), *options])
    assert result.exit_code == status, result.output
    return result.output


def table_of(target):
    return read_parts(find_location(str(target)))[0].drop(columns="seconds")


@pytest.fixture
def alone(many_pictures, tmp_path):
    """The masks and the table of one process on this machine."""
    predict(many_pictures[0], tmp_path / "alone", many_pictures[1])
    table = pd.read_csv(tmp_path / "alone" / "predictions.csv", dtype={"flag": str}, keep_default_na=False)
    return masks_of(tmp_path / "alone"), table.drop(columns="seconds")


def require_same(found, alone):
    masks, table = alone
    assert masks_of(found) == masks
    numbers = [name for name in table if name not in ("picture", "flag")]
    for each in (mine := table_of(found)), table:
        each[numbers] = each[numbers].apply(pd.to_numeric)
    pd.testing.assert_frame_equal(mine, table, check_dtype=False)


@pytest.mark.long
def test_from_and_to_s3_is_as_from_folder_to_folder_and_goes_on(many_pictures, alone, bucket):
    source, target = put(many_pictures[0], bucket), f"s3://{bucket}/out"
    told = predict(source, target, many_pictures[1])
    assert f"40 pictures are done: s3://{bucket}/out/predictions.parquet" in told
    require_same(target, alone)
    place = find_location(target)
    manifest = json.loads((place / "manifest.json").read())
    assert (manifest["pictures"], manifest["failed"]) == (40, 1)
    assert sum(part["rows"] for part in manifest["parts"]) == 40
    assert list(manifest["columns"])[: len(COLUMNS)] == list(COLUMNS)
    assert KEYS["secret"] not in "".join(name + str((place / name).read()) for name in place.list())
    # The bad one comes right, and one is another picture than it was.
    fs, pictures = fsspec.filesystem("s3"), sorted(many_pictures[0].rglob("*.png"))
    fs.put(str(pictures[1]), f"{bucket}/in/bad.png")
    fs.put(str(pictures[2]), f"{bucket}/in/{pictures[1].relative_to(many_pictures[0])}")
    before = {name: known["LastModified"] for name, known in place.list().items()}
    predict(source, target, many_pictures[1], status=0)
    table, failures = read_parts(place)
    assert len(table) == table["picture"].nunique() == 41
    assert failures.empty
    after = {name: known["LastModified"] for name, known in place.list().items()}
    changed = f"{pictures[1].relative_to(many_pictures[0]).as_posix().removesuffix('.png')}_mask.png"
    like = f"{pictures[2].relative_to(many_pictures[0]).as_posix().removesuffix('.png')}_mask.png"
    assert (place / changed).read() == (place / like).read()
    made = {name for name in after if name.endswith("_mask.png") and after[name] != before.get(name)}
    assert made <= {"bad_mask.png", changed}


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_shards_from_and_to_s3_on_two_workers_of_which_one_is_killed(many_pictures, alone, bucket, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")
    monkeypatch.setattr(shards, "SHARD", 10)
    source, target = put(many_pictures[0], bucket), f"s3://{bucket}/out"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pids = {worker.worker_address: worker.pid for worker in cluster.workers.values()}
        watcher = distributed.Client(cluster)

        def one_that_works():
            if not any("_mask" in name for name in find_location(target).list()):
                return 0
            return next((pids.get(address, 0) for address, keys in watcher.processing().items() if keys), 0)

        killer = WorkerKiller(one_that_works)
        killer.start()
        predict(source, target, many_pictures[1], "--scheduler", cluster.scheduler_address)
        watcher.close()
    assert killer.killed
    require_same(target, alone)
    assert len(json.loads((find_location(target) / "manifest.json").read())["parts"]) == 5


@pytest.mark.long
def test_with_a_scheduler_the_table_is_in_parts_on_this_machine_too(many_pictures, alone, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")
    monkeypatch.setattr(shards, "SHARD", 15)
    target = tmp_path / "out"
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        told = predict(many_pictures[0], target, many_pictures[1], "--scheduler", cluster.scheduler_address)
    assert f"1 could not be read: {target / 'failures.parquet'}" in told
    require_same(target, alone)
    assert list(pd.read_parquet(target / "predictions.parquet")["picture"].sort_values()) == list(alone[1]["picture"])
    assert not list(target.rglob("*unfinished*"))
    predict(many_pictures[0], target, many_pictures[1])  # goes on as it was begun
    require_same(target, alone)


@pytest.mark.long
def test_a_folder_with_one_table_takes_no_parts(many_pictures, alone, tmp_path):
    parts = PredictionParts(tmp_path / "alone", json.loads((tmp_path / "alone" / "predictions.json").read_text()))
    with pytest.raises(InputError, match=r"table: predictions\.csv there, predictions\.parquet now"):
        parts.claim()


@pytest.mark.long
def test_kedro_predict_takes_the_keys_from_credentials_and_tells_mlflow_no_place(
    project, many_pictures, alone, bucket, s3_server, monkeypatch
):
    from mlflow import MlflowClient

    source, target = put(many_pictures[0], bucket), f"s3://{bucket}/out"
    monkeypatch.delitem(fsspec.config.conf, "s3")
    lines = ["s3:", "  key: lab", "  secret: very-secret", "  client_kwargs:", f"    endpoint_url: {s3_server}"]
    (project / "conf" / "local" / "credentials.yml").write_text("\n".join(lines))
    bootstrap_project(project)
    result = CliRunner().invoke(cli, ["predict", source, target, "--weights", str(many_pictures[1])])
    assert result.exit_code == SOME_FAILED, result.output
    require_same(target, alone)
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ph2-segnet-prediction").experiment_id])
    assert (run.data.metrics["pictures"], run.data.metrics["failed"]) == (40, 1)
    assert not [word for word in (bucket, "very-secret") if word in str(run.to_dictionary())]


def test_fingerprints_differ_where_size_or_any_mark_of_a_change_does():
    known = [{"size": 9, "ETag": "a"}, {"size": 9, "ETag": "b"}, {"size": 8, "ETag": "a"}, {"size": 9, "mtime": 1.5}]
    assert len({fingerprint(each) for each in known}) == len(known)
    assert fingerprint({"size": 9, "ETag": "a", "StorageClass": "cold"}) == fingerprint({"size": 9, "ETag": "a"})


def test_what_cannot_be_reached_is_told_in_a_sentence(many_pictures, bucket, tmp_path, monkeypatch):
    folder, weights = many_pictures
    told = predict("s3://no-such-bucket/in", tmp_path / "out", weights, status=1)
    assert "s3://no-such-bucket/in" in told
    assert "Traceback" not in told
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
    assert "cannot be reached" in predict(f"s3://{bucket}/in", tmp_path / "out", weights, status=1)


@pytest.mark.long
def test_a_store_that_goes_away_in_the_middle_is_no_fault_of_the_pictures(many_pictures, alone, bucket, monkeypatch):
    source, target = put(many_pictures[0], bucket), f"s3://{bucket}/out"
    fs, fetched = fsspec.filesystem("s3"), []
    fetch = fs.cat_file

    def away(path, **options):
        fetched.append(path)
        if "/in/" in path and len(fetched) > 20:
            raise TimeoutError("no answer")
        return fetch(path, **options)

    monkeypatch.setattr(fs, "cat_file", away)
    told = predict(source, target, many_pictures[1], status=1)
    assert "cannot be reached (no answer)" in told
    assert "Traceback" not in told
    monkeypatch.setattr(fs, "cat_file", fetch)
    predict(source, target, many_pictures[1])
    require_same(target, alone)


@pytest.mark.long
def test_workers_that_stand_elsewhere_or_cannot_write(many_pictures, alone, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        monkeypatch.chdir(tmp_path)
        options = ("--scheduler", cluster.scheduler_address)
        predict("in", "out [1]", many_pictures[1], *options)
        require_same(tmp_path / "out [1]", alone)
        (tmp_path / "file").write_text("no folder")
        told = predict("in", "file/out", many_pictures[1], *options, status=1)
        assert "cannot be used: Not a directory" in told
        begun = tmp_path / "begun"
        begun.mkdir()
        shutil.copy(tmp_path / "out [1]" / "predictions.json", begun)
        predict("in", "begun", many_pictures[1])  # without a scheduler: the kind of its table is as it was begun
        require_same(begun, alone)
        told = predict("in", "alone", many_pictures[1], *options)  # and a folder with one table keeps it
        assert "predictions.csv" in told


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(InputError, match="is not there on a worker"):
        join_folder(tmp_path / "out", {"weights": "a"})
    assert not (tmp_path / "out").exists()


def test_two_that_finish_at_once_leave_each_row_once_and_a_whole_manifest(tmp_path, monkeypatch):
    pictures = [ImageFile(tmp_path, f"{number}.png", (number, 0)) for number in range(6)]
    first, second, third = (PredictionParts(tmp_path / "out", {"weights": "a"}) for _ in range(3))
    first.claim()
    for picture in pictures[:3]:
        first.fail(picture, "bad")
        first.note(picture, {"width": 1})
    first.close()
    for picture in pictures[2:5]:
        second.note(picture, {"width": 2})
    third.note(pictures[5], {"width": 3})
    write = PredictionParts._write_part

    def meanwhile(self, *arguments):
        """Between reading and writing of one, the others write and finish."""
        monkeypatch.setattr(PredictionParts, "_write_part", write)
        third.finish(pictures, [])
        write(self, *arguments)

    monkeypatch.setattr(PredictionParts, "_write_part", meanwhile)
    assert second.finish(pictures, pictures) == (6, 0)
    assert third.finish(pictures, pictures) == (6, 0)
    table, failures = read_parts(tmp_path / "out")
    assert list(table["width"]) == [1, 1, 2, 2, 2, 3]
    assert failures.empty
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["pictures"], sum(part["rows"] for part in manifest["parts"])) == (6, 6)


def test_names_that_are_no_paths_are_refused_and_marks_of_folders_left_out(bucket):
    fs, place = fsspec.filesystem("s3"), find_location(f"s3://{bucket}/in")
    for key in ("in/", "in/a.png"):
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=b"x")
    assert [picture.name for picture in list_input_images(place)] == ["a.png"]
    fs.call_s3("put_object", Bucket=bucket, Key="in/b/../../c.png", Body=b"x")
    with pytest.raises(InputError, match=r"no paths of files: 1 problem\n  - b/\.\./\.\./c\.png"):
        list_input_images(place)


def test_passwords_are_not_shown():
    assert hide_passwords("postgresql://lab:pw@db/x") == "postgresql://lab:***@db/x"
    assert hide_passwords("s3://bucket/a:b@c") == "s3://bucket/a:b@c"
    with pytest.raises(InputError, match=r"ftp://me:\*\*\*@127\.0\.0\.1:9/x cannot be used"):
        find_location("ftp://me:secret@127.0.0.1:9/x")


def test_a_folder_of_others_is_refused_and_what_is_there_is_kept(bucket):
    place = find_location(f"s3://{bucket}/out")
    picture = ImageFile(place, "a.png", (1, 2))
    (place / "a_mask.png").write(b"mine")
    with pytest.raises(InputError, match="would be written over"):
        PredictionParts(place, {"weights": "a"}).claim([picture])
    (place / "a_mask.png").remove()
    PredictionParts(place, {"weights": "a"}).claim([picture])
    with pytest.raises(InputError, match="weights: a there, b now"):
        PredictionParts(place, {"weights": "b"}).claim([picture])


@pytest.mark.parametrize("name", ["café.png", "a\udcffb.png", "x/y.png"])
def test_parts_hold_each_picture_once_whatever_it_is_called(tmp_path, name):
    picture, changed = ImageFile(tmp_path, name, (1, 2)), ImageFile(tmp_path, name, (1, 3))

    def fresh():
        parts = PredictionParts(tmp_path / "out", {"weights": "a"})
        parts.claim()
        return parts

    parts = fresh()
    parts.note(picture, {"width": 5, "left": "", "flag": ""})
    assert parts.finish([picture], [picture]) == (1, 0)
    assert fresh().left([picture]) == []
    assert fresh().left([changed]) == [changed]
    parts = fresh()
    parts.fail(changed, "it is damaged")
    assert parts.finish([changed], [changed]) == (0, 1)  # what it was before no longer counts
    table, failures = read_parts(tmp_path / "out")
    assert (len(table), list(failures["reason"])) == (0, ["it is damaged"])
    parts = fresh()
    parts.note(changed, {"width": 7})
    assert parts.finish([changed], [changed]) == (1, 0)
    table, failures = read_parts(tmp_path / "out")
    assert (list(table["width"]), len(failures)) == ([7], 0)
    (part,) = (tmp_path / "out" / "predictions.parquet").iterdir()
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(InputError, match=r"part-\w+\.parquet is damaged .* Remove it"):
        fresh().left([changed])


def test_a_single_file_of_a_place_is_a_picture(many_pictures, bucket):
    put(many_pictures[0], bucket)
    (only,) = list_input_images(find_location(f"s3://{bucket}/in/ward 0/000.png"))
    assert only.name == "000.png"
    assert only.fingerprint[0] == (many_pictures[0] / "ward 0" / "000.png").stat().st_size
