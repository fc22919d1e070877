"""The oracle: torch, float64, written from the papers' equations and never from the compiler."""
