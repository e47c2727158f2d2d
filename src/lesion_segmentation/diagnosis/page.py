"""Page of the diagnosis: scores under each mask, and the features."""

import pandas as pd

from lesion_segmentation.diagnosis.settings import ENCODER, FEATURES, HANDCRAFTED, MASKS, WITH_ENCODER
from lesion_segmentation.report.model_card import render_template

TITLES = {"balanced_accuracy": "Balanced accuracy", "auc": "Area under the ROC curve"}


def build_page(diagnosis: pd.DataFrame, diagnosis_cases: pd.DataFrame) -> str:
    """Build the HTML of the page from the tables of `summarize_diagnosis` and `diagnose_cases`."""
    cases = diagnosis_cases[diagnosis_cases["task"] == diagnosis_cases["task"].iloc[0]].drop_duplicates("case_id")
    return render_template(
        "diagnosis.html.j2",
        counts=cases["truth"].value_counts().to_dict(),
        folds=cases["fold"].nunique(),
        rows=diagnosis.reset_index(names="row").to_dict("records"),
        tasks=list(diagnosis["task"].unique()),
        titles=TITLES,
        masks=MASKS,
        features=FEATURES,
        handcrafted=HANDCRAFTED,
        with_encoder=WITH_ENCODER,
        encoder=ENCODER,
    )
