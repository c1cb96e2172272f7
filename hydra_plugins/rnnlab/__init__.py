"""rnnlab's sweeper and launcher for Hydra."""
