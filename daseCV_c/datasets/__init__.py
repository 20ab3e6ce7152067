"""Data sets: the bundled digits, and a download of CIFAR-10."""

from daseCV_c.datasets.cifar import fetch_cifar10
from daseCV_c.datasets.digits import load_digits_images

__all__ = ["fetch_cifar10", "load_digits_images"]
