"""Experiments: configuration, data, protocols, sessions, checkpoints, results."""
