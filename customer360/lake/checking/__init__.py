"""``customer360 check``: files and tables judged by the pipeline's own rules before anything runs. Writes nothing."""
