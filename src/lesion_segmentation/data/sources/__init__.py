"""Sources of cases: PH2, ISIC 2018, folders of the user, and synthetic cases."""
