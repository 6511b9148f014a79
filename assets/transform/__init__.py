"""Raw to marts: the dbt project as assets, planned before and marked after."""
