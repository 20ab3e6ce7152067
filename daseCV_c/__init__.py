"""The daseCV / CS231n layers, losses, optimizers, networks and Solver as compiled kernels.

Modules carry the course's names: `layers`, `layer_utils`, `optim`, `classifiers`, `solver`,
`gradient_check`, `data_utils`, `vis_utils`; `submission` writes the leaderboard's files and
`datasets` holds images that need no download. Every function also exists as a NumPy twin in
`reference`.
"""

from daseCV_c._runtime.backend import get_backend, use_backend
from daseCV_c._runtime.config import show_config
from daseCV_c._runtime.precision import get_matmul_precision, set_matmul_precision
from daseCV_c._runtime.threads import get_num_threads, num_threads, set_num_threads
from daseCV_c._version import __version__

__all__ = [
    "__version__",
    "get_backend",
    "get_matmul_precision",
    "get_num_threads",
    "num_threads",
    "set_matmul_precision",
    "set_num_threads",
    "show_config",
    "use_backend",
]
