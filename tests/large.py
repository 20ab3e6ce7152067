"""Arrays of more than 2^31 elements, by each way that a kernel passes over memory. The numbers lie at the far end; the
rest are zeros that were never written, which take no memory while they are only read. Run: .ci/sanitize large
"""

import sys
import time

import numpy as np

import daseCV_c
from daseCV_c import fast_layers, layers, optim
from daseCV_c._runtime import backend
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.data_utils import gather_batch

OVER = 2**31 + 2**20


def zeros(*shape, dtype=np.float32):
    x = np.zeros(shape, dtype)
    assert x.size > 2**31
    return x


def gather():
    x = zeros(OVER // 3072 + 1, 3072, dtype=np.uint8)
    x[-1] = 7
    return (gather_batch(x, np.array([len(x) - 1, 0, len(x) - 1]), None, np.float32)
            == np.array([[7], [0], [7]])).all()


def gather_rows_that_lie_a_step_apart():
    x = zeros(OVER // 3072 + 2, 3072, dtype=np.uint8)[::2]
    x[-1] = 7
    return (gather_batch(x, np.array([len(x) - 1]), None, np.float32) == 7).all()


def affine_of_many_rows():
    x = zeros(OVER // 64, 64)
    x[-1] = 1
    out, _ = layers.affine_forward(x, np.ones((64, 1), np.float32), np.ones(1, np.float32))
    return out[-1, 0] == 65 and (out[:-1] == 1).all()


def affine_of_many_features():
    x, w = zeros(2, OVER // 2 + 1), np.zeros((OVER // 2 + 1, 1), np.float32)
    x[:, -3:], w[-3:] = [[1], [2]], 5
    return layers.affine_forward(x, w, np.zeros(1, np.float32))[0].tolist() == [[15], [30]]


def pool():
    x = zeros(1, 2, 2**15, OVER // 2**16 + 1)
    x[0, 1, -64:, :] = 3
    out, _ = fast_layers.max_pool_forward_fast(x, {"pool_height": 64, "pool_width": x.shape[3], "stride": 64})
    return out.shape == (1, 2, 512, 1) and out[0, 1, -1, 0] == 3 and out.sum() == 3


def convolution():
    x = zeros(1, 1, 2**16, OVER // 2**16)
    x[0, 0, -1, -1] = 1
    w = np.ones((1, 1, 16, 16), np.float32)
    out, _ = fast_layers.conv_forward_fast(x, w, np.zeros(1, np.float32), {"stride": 16, "pad": 0})
    return out[0, 0, -1, -1] == 1 and out.sum() == 1


def prediction():
    x = zeros(OVER // 256, 256)
    x[-1] = 1
    net = FullyConnectedNet([8], input_dim=256, num_classes=2)
    scores = net.loss(x)
    return len(scores) == len(x) and (scores[-1] == net.loss(x[-1:])[0]).all() and (scores[:-1] == scores[0]).all()


def sum_of_squares():
    x = zeros(OVER)
    x[-5:] = 2
    return backend.kernels_of(x.dtype).optim.sum_of_squares(x, daseCV_c.get_num_threads()) == 20


def training_from_many_images():
    x = zeros(OVER // 3072 + 1, 3072, dtype=np.uint8)
    x[-4:] = np.random.default_rng(0).integers(0, 255, (4, 3072))
    y, few = np.zeros(len(x), int), x[-4:].copy()
    ends = []
    for images, rows in ((x, np.arange(len(x) - 4, len(x))), (few, np.arange(4))):
        np.random.seed(0)
        net = FullyConnectedNet([20], num_classes=10)
        from daseCV_c._step.fully_connected import FusedStep
        loss = FusedStep("sgd")(net, {name: {"learning_rate": 0.1} for name in net.params}, images, y, rows)
        ends.append((float(loss), net.params["W1"].tobytes()))
    return ends[0] == ends[1]


def rule():
    w, dw = np.zeros(OVER, np.float32), np.zeros(OVER, np.float32)  # 8.6 GB are written
    dw[-3:] = 1
    w, _ = optim.sgd(w, dw, {"learning_rate": 2.0})
    return w[-3:].tolist() == [-2, -2, -2] and not w[:: 2**12].any()


CHECKS = [gather, gather_rows_that_lie_a_step_apart, affine_of_many_rows, affine_of_many_features, pool, convolution,
          prediction, sum_of_squares, training_from_many_images, rule]
if __name__ == "__main__":
    assert daseCV_c.get_backend() == "compiled"
    failed = 0
    for check in CHECKS:
        if len(sys.argv) > 1 and check.__name__ not in sys.argv[1:]:
            continue
        began = time.perf_counter()
        right = check()
        failed += not right
        print(f"{check.__name__}: {'right' if right else 'WRONG'}, {time.perf_counter() - began:.0f} s", flush=True)
    sys.exit(failed)
