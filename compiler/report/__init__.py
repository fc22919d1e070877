"""What pages are made of, and the pages of runs, fits, sweeps and the demo."""
