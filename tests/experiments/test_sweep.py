"""kedro sweep: each trial is a complete run, an interrupted search resumes, and no test case is used."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, nest
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient
from postgres import make_database
from pydantic import ValidationError

from lesion_project.experiments import sweep as module
from lesion_project.experiments.sweep import Sweep, list_trials, run_one, run_sweep
from lesion_project.experiments.trials import Experiment
from lesion_project.tracking.run import TrackedRun
from lesion_segmentation.core.errors import InputError, RecipeError
from lesion_segmentation.training.callbacks import epoch_observer
from lesion_segmentation.training.search_space import SweepSettings

optuna = pytest.importorskip("optuna", reason="Optuna comes with pip install '.[scale]'")

SPACE = {
    "training.learning_rate": {"low": 0.001, "high": 0.01, "log": True},
    "training.batch_size": {"low": 2, "high": 6, "step": 2},
    "training.loss": {"choices": ["bce", "bce_dice"]},
}


def params(**sweep):
    return {**nest(QUICK | {"training.epochs": 2}), "sweep": {"space": SPACE, "trials": 3, **sweep}}


@pytest.mark.long
@pytest.mark.parametrize(("storage", "trials"), [("sqlite", 12), ("postgresql", 4)])
def test_interrupted_search_resumes_and_scores_no_test_case(project, monkeypatch, storage, trials, request):
    run, ran = Experiment.run, []
    url = None if storage == "sqlite" else make_database(request.getfixturevalue("postgres"))
    given = params(pruning=False, trials=trials, storage=url)

    def interrupted(self, trial, *rest):
        if len(ran) == trials // 2 - 1:
            raise KeyboardInterrupt
        ran.append(trial.name)
        return run(self, trial, *rest)

    monkeypatch.setattr(Experiment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(project, "demo", given)
    monkeypatch.setattr(Experiment, "run", run)
    table = run_sweep(project, "demo", given)
    done = table[table["state"] == "complete"]
    assert len(done) == trials
    assert {f"trial_{number:04}" for number in done["number"]} >= set(ran)
    assert set(SPACE) <= set(table)
    assert done["training.batch_size"].isin([2, 4, 6]).all()
    root = project / "data" / "sweep" / "demo" / "recipe"
    assert (root / "optuna.db").is_file() == (url is None)
    for row in done.itertuples():
        folder = root / f"trial_{row.number:04}" / "08_reporting"
        assert pd.read_csv(folder / "training_history.csv")["validation_dice"].iloc[-1] == pytest.approx(row.value)
        assert not (folder / "case_metrics.csv").exists()
    assert pd.read_csv(root / "trials.csv")["value"].iloc[0] == done["value"].max()
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("ph2-segnet-demo").experiment_id])
    parents = [each for each in runs if "mlflow.parentRunId" not in each.data.tags]
    assert sorted(each.info.status for each in parents) == ["FAILED", "FINISHED"]
    fewer = params(pruning=False, trials=1, storage=url)
    assert len(run_sweep(project, "demo", given)) == len(run_sweep(project, "demo", fewer)) == len(table)  # all done
    other = given | {"sweep": given["sweep"] | {"space": SPACE | {"training.loss": {"choices": ["bce"]}}}}
    other["training"] = {**given["training"], "epochs": 3}
    with pytest.raises(InputError, match="recipe was started with other settings: 2 problems") as caught:
        run_sweep(project, "demo", other)
    assert "training.epochs was 2, and is 3 now" in str(caught.value)
    assert 'sweep.space.training.loss was ["bce", "bce_dice"], and is ["bce"] now' in str(caught.value)
    assert len(run_sweep(project, "demo", other | {"sweep": {**other["sweep"], "study": "second", "trials": 1}})) == 1
    if url is None:  # the trials of a lost study are not reused by another one
        (root / "optuna.db").unlink()
        with pytest.raises(InputError, match="trial_0000: training"):
            run_sweep(project, "demo", params(pruning=False, trials=trials, seed=1))


@pytest.mark.long
def test_trial_below_the_median_is_stopped(project, monkeypatch):
    import optuna

    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda self, study, trial: trial.number == 1)
    table = run_sweep(project, "demo", params(trials=2))
    assert sorted(table["state"]) == ["complete", "pruned"]
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("ph2-segnet-demo").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED", "KILLED"]


@pytest.mark.long
def test_objective_folds_uses_the_held_out_cases_of_two_folds(more_cases):
    given = params(trials=1, objective="folds") | {"reporting": {"score_test": False}}
    table = run_sweep(more_cases, "demo", given)
    root = more_cases / "data" / "sweep" / "demo" / "recipe" / "trial_0000"
    cases = [pd.read_csv(root / f"fold_{fold}" / "08_reporting" / "case_metrics.csv") for fold in (0, 1)]
    means = [each.loc[each["subset"] == "test", "dice"].mean() for each in cases]
    assert table["value"].iloc[0] == pytest.approx(sum(means) / 2)
    assert not (root / "fold_2").exists()


def test_search_on_reported_cases_is_refused(project):
    for objective in ("test", "fold_2"):
        with pytest.raises(ValidationError, match="recipes are not chosen on test cases or on folds 2 to 4"):
            SweepSettings(objective=objective)
    for name in ("training.colour", "split.seed", "reporting.score_test"):
        with pytest.raises(InputError, match=rf"{name} is not part of a recipe"):
            run_sweep(project, "demo", params(space={name: {"choices": [1]}}))
    with pytest.raises(InputError, match=r"sweep\.storage cannot be used"):
        run_sweep(project, "demo", params(storage="nowhere://there"))
    with pytest.raises(InputError, match=r"sweep\.space is empty"):
        run_sweep(project, "demo", {**params(), "sweep": {"space": {}}})


def test_impossible_space_is_reported_before_any_work(project):
    wrong = {
        "training.learning_rate": {"low": 0.1, "high": 0.01},
        "training.ema_decay": {"low": 0, "high": 0.9, "log": True},
        "training.weight_decay": {"low": 0.1, "high": 0.9, "log": True, "step": 0.1},
        "training.batch_size": {"low": 0, "high": 6, "step": 2},
        "training.epochs": {"low": 2, "high": 6},
        "training.loss": {"choices": ["bce", "dicee"]},
        "training.online_augmentation.scal": {"choices": [0.1]},
        "image_size.height": {"low": 32, "high": 64, "step": 32},
    }
    with pytest.raises(InputError, match=r"sweep\.space cannot be searched") as caught:
        run_sweep(project, "demo", params(space=wrong))
    keys = [problem.split()[0].rstrip(":") for problem in caught.value.problems]
    assert sorted(keys) == sorted(set(wrong) - {"image_size.height"})
    assert not (project / "data" / "sweep").exists()


def test_pruned_trial_is_never_the_best():
    study = optuna.create_study(direction="maximize")
    state = optuna.trial.TrialState
    for value, kind in ((0.5, state.COMPLETE), (0.9, state.PRUNED), (0.7, state.COMPLETE), (None, state.FAIL)):
        intermediate = {1: value} if kind == state.PRUNED else {}
        given = value if kind == state.COMPLETE else None
        study.add_trial(optuna.trial.create_trial(state=kind, value=given, intermediate_values=intermediate))
    table = list_trials(study)
    assert list(table["number"]) == [2, 0, 1, 3]
    assert table["state"].iloc[3] == "interrupted"


class StubbedExperiment:
    """An experiment whose trials only report an epoch, write a history, and do what `during` does."""

    def __init__(self, during):
        self.during = during

    def find_finished(self, trials, requested):
        return set()

    def run(self, trial, parent_run, to_outputs):
        self.during(trial)
        epoch_observer.get()({"epoch": 1, "validation_dice": 0.5})
        history = trial.data_root / "08_reporting" / "training_history.csv"
        history.parent.mkdir(parents=True)
        history.write_text("validation_dice\n0.5\n")


def open_sweep(folder: Path, during) -> tuple[Sweep, optuna.Study]:
    module._require_optuna()
    settings = SweepSettings(space={"training.learning_rate": {"low": 0.1, "high": 1}}, pruning=False)
    sweep = Sweep(StubbedExperiment(during), settings, folder, f"sqlite:///{folder / 'optuna.db'}")
    return sweep, module._open_study(sweep, 0)


@pytest.mark.parametrize("error", [RecipeError("The loss is not finite."), InputError("training.learning_rate is 1.")])
def test_trial_that_cannot_be_trained_fails_and_the_search_continues(tmp_path, error):
    def diverge_first(trial):
        if trial.name == "trial_0000":
            raise error

    sweep, study = open_sweep(tmp_path, diverge_first)
    assert [run_one(sweep, index, "parent") for index in range(2)] == [0, 1]
    table = list_trials(study)
    assert list(table["state"]) == ["complete", "failed"]
    assert table["reason"].iloc[1] == str(error)
    assert module._count_done(study) == 2


def test_error_that_every_trial_would_have_ends_the_search(tmp_path):
    def lack_data(trial):
        raise InputError("PH2 is missing.")

    sweep, study = open_sweep(tmp_path, lack_data)
    with pytest.raises(InputError, match="PH2 is missing"):
        run_one(sweep, 0, "parent")
    assert [trial.state.name for trial in study.trials] == ["FAIL"]


@pytest.mark.parametrize("moment", ["training", "after its last epoch"])
def test_suspended_worker_gives_up_a_trial_that_another_one_repeats(tmp_path, moment):
    """The first worker writes a checkpoint and is suspended, another repeats the trial, then the first continues."""

    def be_suspended(trial):
        checkpoint = trial.data_root / "06_models" / "training_checkpoint.safetensors"
        if checkpoint.exists():
            resumed.append(checkpoint.read_text())
            return
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text("of the first worker")
        if moment != "training":
            epoch_observer.set(lambda row: None)
        number = study.trials[-1].number
        study._storage.set_trial_state_values(study.trials[number]._trial_id, state=optuna.trial.TrialState.FAIL)
        study._storage.get_heartbeat_stale_trial_callback()(study, study.trials[number])
        assert run_one(sweep, 1, "parent") == 1

    resumed = []
    sweep, study = open_sweep(tmp_path, be_suspended)
    assert run_one(sweep, 0, "parent") == 0
    assert resumed == ["of the first worker"]
    assert [(trial.state.name, trial.value) for trial in study.trials] == [("FAIL", None), ("COMPLETE", 0.5)]
    assert (tmp_path / "trial_0000" / "08_reporting").exists() == (moment != "training")
    assert study.trials[0].params == study.trials[1].params


def test_end_of_a_search_waits_at_most_a_minute_for_a_lost_store(project, monkeypatch):
    waits = []
    monkeypatch.setattr(TrackedRun, "flush", lambda run, patience: waits.append(patience))
    bootstrap_project(project)
    with Experiment(project, "demo", {}).open_parent("sweep", {}):
        pass
    assert waits == [60]
