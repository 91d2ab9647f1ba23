"""The benchmark: tasks x lengths x readers, run, scored and reported."""
