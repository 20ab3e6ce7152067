"""How the package runs: which kernels, how many threads, how exactly; and what `show_config` says of it."""
