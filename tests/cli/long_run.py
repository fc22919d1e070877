"""An experiment that runs until it is stopped."""

LONG_RUN = """
[model]
circuit = "pal"
layers = [2, 3, 2]
start = "legacy"
eta_bw = 50
sigma = 0.05
[protocol]
task = "bw_only"
epochs = 100000
dataset_size = 4
presentation_steps = 5
[run]
seeds = [3]
backend = "native"
noise = "legacy"
"""
