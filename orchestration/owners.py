"""Who answers for what, as shown in the UI."""

DATA_TEAM = "team:data"
ML_TEAM = "team:ml"
MARKETING_TEAM = "team:marketing"
