"""Data sets: what is bundled, what files hold, and the rows that learn nothing."""
