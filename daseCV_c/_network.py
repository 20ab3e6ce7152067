"""What the networks of the package have in common."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from daseCV_c import _checks, _random
from daseCV_c._layers.chosen import Chosen
from daseCV_c._step import prediction as _prediction
from daseCV_c._types import Array, ArrayLike


class Network:
    """Base of the networks: what belongs to a model beside its parameters, and its file.

    Attributes
    ----------
    mean_image : array or None
        What was subtracted from the images that the network learned from. `save` keeps it.
    class_names : list of str or None
        The names of the classes, in the order of the scores. `save` keeps them.
    loss_function : str
        'softmax'; of FullyConnectedNet also 'logistic', 'squared' or 'poisson'. `save` keeps it.
    """

    # Also of networks from pickles that were written before there were these.
    mean_image: Array | None = None
    loss_function = "softmax"
    _packed: Any = None  # of a Predictor's copy: its parameters as the prediction kernel reads them
    loss: Callable[..., Any]
    _own_loss: Callable[..., Any]  # as the package defines it
    _chosen: Chosen  # the functions of the layers that it computes with
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

    def _has_own_loss(self) -> bool:
        """The class's own `loss`: none was put in its place."""
        return type(self).loss is type(self)._own_loss and "loss" not in vars(self)

    def _samples(self, function: str, X: ArrayLike) -> Array:
        """X checked against the parameters."""
        raise NotImplementedError

    def _scored(
        self, function: str, X: ArrayLike, batch_size: int | None, mean_image: ArrayLike | None, probabilities: bool,
    ) -> Array:
        name = f"{type(self).__name__}.{function}"
        images = self._samples(name, X)
        if batch_size is not None:
            batch_size = _checks.integer(name, "batch_size", batch_size, 1)
        given = self.mean_image if mean_image is None else mean_image
        mean = None
        if given is not None and images.dtype == np.uint8:
            mean = _checks.as_array(name, "mean_image", given)
            if mean.shape != images.shape[1:]:
                raise ValueError(
                    f"{name}: mean_image has shape {mean.shape}, but an image has shape {images.shape[1:]}")
        # A loss of one's own is asked for the scores.
        return _prediction.scores(
            self, images, mean, probabilities, batch_size, None if self._has_own_loss() else self.loss)

    def predict(
        self, X: ArrayLike, batch_size: int | None = None, *, mean_image: ArrayLike | None = None,
    ) -> Array:
        """The class with the highest score of each sample, in test mode.

        Nothing of the network changes, so another thread may predict while it is trained: it then
        scores by parameters some of which are a step older than others. A sample's scores have the
        same bits whatever samples are beside it, and whatever the batch size.

        Parameters
        ----------
        X : array, (N, d_1, ..., d_k)
            As for `loss`, and of any memory order or dtype without a copy of it all.
        batch_size : int, optional
            Samples at a time. By default the kernels choose, and memory does not grow with N.
        mean_image : array, (d_1, ..., d_k), optional
            Subtracted from images of uint8, in float64; those of other types are taken as they are.
            By default the network's own `mean_image`, if it has one.

        Returns
        -------
        classes : array of int64, (N,)
            The first of equal scores. Scores that are not finite are a RuntimeWarning.

            With the loss 'logistic', 1 where the score is positive, else 0: (N, K), and (N,) where K is 1. With
            'squared' and 'poisson' the numbers themselves, in the network's dtype, in the same shapes.

        Raises
        ------
        ValueError, TypeError
            X does not fit the parameters, mean_image not an image of uint8, or batch_size is no positive integer.

        Examples
        --------
        >>> import numpy as np
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> net = TwoLayerNet(2, 2, 2)
        >>> net.params.update(W1=np.eye(2), W2=np.eye(2))
        >>> net.predict([[3., 1.], [0., 2.]]).tolist()
        [0, 1]
        """
        numbers = self.loss_function in ("squared", "poisson")
        scores = self._scored("predict", X, batch_size, mean_image, numbers)
        if not np.isfinite(scores).all():
            first = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
            warnings.warn(f"{type(self).__name__}.predict: the scores are not finite, first those of sample {first}: "
                          "their classes mean nothing", RuntimeWarning, stacklevel=2)
        if self.loss_function != "softmax":
            found = scores if numbers else (scores > 0).astype(np.int64)
            return found[:, 0] if found.shape[1] == 1 else found
        classes: Array = scores.argmax(axis=1).astype(np.int64, copy=False)
        return classes

    def predict_proba(
        self, X: ArrayLike, batch_size: int | None = None, *, mean_image: ArrayLike | None = None,
    ) -> Array:
        """The probability of each class, in test mode: ``exp(s_j) / sum_k exp(s_k)`` of the scores s.

        With the loss 'logistic', of each output by itself: ``1 / (1 + exp(-s_j))``.

        Parameters
        ----------
        X, batch_size, mean_image
            As for `predict`.

        Returns
        -------
        probabilities : array, (N, C)
            In the network's dtype; NaN in rows whose scores are not finite.

        Raises
        ------
        ValueError, TypeError
            As `predict`; or the network's loss is 'squared' or 'poisson', which know no probabilities.

        References
        ----------
        CS231n, "Linear classification", https://cs231n.github.io/linear-classify/#softmax-classifier

        Examples
        --------
        >>> import numpy as np
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> net = TwoLayerNet(2, 2, 2)
        >>> net.params.update(W1=np.eye(2), W2=np.eye(2))
        >>> net.predict_proba([[np.log(3.), 0.]]).round(6).tolist()
        [[0.75, 0.25]]
        """
        if self.loss_function in ("squared", "poisson"):
            raise ValueError(f"{type(self).__name__}.predict_proba: the loss is {self.loss_function!r}, which knows no "
                             "classes: predict gives the numbers")
        return self._scored("predict_proba", X, batch_size, mean_image, True)

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
