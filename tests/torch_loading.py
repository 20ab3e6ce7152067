"""Workers of PyTorch's DataLoader that compute by our kernels: `concurrency_trials.py torch_workers` starts it."""

import multiprocessing
import sys

import numpy as np
import torch
from workload import daseCV_c, work


class Rows(torch.utils.data.Dataset):
    """Of each row the workload's digest, and a product by PyTorch of which the parent has one too."""

    def __len__(self):
        return 6

    def __getitem__(self, k):
        return k, work(k), product(k)


def product(k):
    generator = torch.Generator().manual_seed(k)
    a = torch.randn(200, 200, generator=generator)
    return a @ a


def main():
    times = int(sys.argv[1])
    daseCV_c.set_num_threads(3)
    torch.set_num_threads(3)
    expected = [work(k) for k in range(6)]
    products = [product(k) for k in range(6)]
    for method in [None, *multiprocessing.get_all_start_methods()]:
        for _ in range(times):
            loader = torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2 if method else 0,
                                                 multiprocessing_context=method)
            for numbers, found, theirs in loader:
                for k, bits, each in zip(numbers.tolist(), found, theirs, strict=True):
                    assert bits == expected[k], (method, k)
                    assert np.allclose(each, products[k], atol=1e-4), (method, k)
            assert work() == expected[0]
            assert torch.equal(product(1), products[1])


if __name__ == "__main__":
    main()
