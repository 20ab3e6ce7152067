"""The training step of the networks as one call of a kernel. Below `classifiers`: nothing here imports them."""
