"""Side-by-side timing. Run one with `python -m benchmarks.step`; nothing here is a test."""
