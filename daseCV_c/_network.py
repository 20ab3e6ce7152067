"""What the networks of the package have in common."""

from __future__ import annotations

import os
from typing import Any

from daseCV_c import _random
from daseCV_c._types import Array


class Network:
    """Base of the networks: what belongs to a model beside its parameters, and its file.

    Attributes
    ----------
    mean_image : array or None
        What was subtracted from the images that the network learned from. `save` keeps it.
    class_names : list of str or None
        The names of the classes, in the order of the scores. `save` keeps them.
    """

    # Also of networks from pickles that were written before there were these.
    mean_image: Array | None = None
    class_names: list[str] | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("use_batchnorm") is not None and "normalization" not in state:
            # As editions of the course wrote it that had no other normalization.
            state = state | {"normalization": "batchnorm" if state["use_batchnorm"] else None}
        vars(self).update(state)

    @property
    def generator(self) -> _random.Generator | None:
        """The generator of its own that dropout draws from; None where it draws from NumPy's global one."""
        own: _random.Generator | None = getattr(self, "dropout_param", {}).get("generator")
        return own

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, as `daseCV_c.models.save_model` does, and print its name.

        Parameters
        ----------
        path : str or path
            Written as it is, in the same safe format whatever the file is called.

        Raises
        ------
        TypeError, ValueError, OSError
            See `save_model`.

        References
        ----------
        CS231n, assignments of 2026, whose networks have it under this name.

        Examples
        --------
        >>> import contextlib, tempfile
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        ...     TwoLayerNet(4, 5, 3).save('best.npy')
        best.npy saved.
        """
        from daseCV_c import models  # which knows the networks
        models.save_model(self, path, format="npz")
        print(f"{os.fspath(path)} saved.")

    def load(self, path: str | os.PathLike[str]) -> bool:
        """Take the parameters, statistics and dimensions from a file, and print its name.

        What training is told (reg, dropout) stays as it is. Where the file cannot be read, the
        network stays as it was.

        Parameters
        ----------
        path : str or path
            Of `save`, of `save_model`, or as the course's own networks write it; of the latter no code runs.

        Returns
        -------
        found : bool
            False if there is no such file.

        Raises
        ------
        ValueError
            The file is damaged, or does not hold a network of this class.

        References
        ----------
        CS231n, assignments of 2026, whose networks have it under this name.

        Examples
        --------
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> TwoLayerNet(4, 5, 3).load('nothing.npy')
        nothing.npy not available.
        False
        """
        from daseCV_c import models  # which knows the networks
        shown = os.fspath(path)
        if not os.path.exists(path):
            print(f"{shown} not available.")
            return False
        models.load_into(f"{type(self).__name__}.load", self, path)
        print(f"{shown} loaded.")
        return True
