"""Training on many GPUs with verl, as a plug-in for its released package. It has an environment of its own.

launch.py     starts verl: writes the problems and verl's configuration, and shows the progress
dry_run.py    checks and counts everything that is possible without GPUs; gpu_memory.py estimates their memory
translate.py  turns the settings of `memagent train` into verl's, and refuses what verl cannot do
problem_table.py  keeps the problems in a Parquet file that all machines read
plugin.py     what verl loads in each of its processes:
reading_loop.py   an agent loop that drives any reading
multi_conv.py     a trainer with a fixed number of optimiser steps, and a mean over the tokens of the whole batch
saved.py          makes each checkpoint one that `--model checkpoint:DIR` can use
"""
