"""Benchmarks: functions that return rows; `cortexc bench NAME` prints them with the machine they ran on."""
