"""What ends a training on all ranks."""


class TeamError(ValueError):
    """Ranks that do not fit together. Every rank finds it, and raises the same."""


class PeerError(RuntimeError):
    """Another rank has failed; the message is its own."""


class MissingError(ImportError):
    """No mpi4py, or no MPI library for it."""
