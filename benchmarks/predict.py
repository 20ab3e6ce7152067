"""Probabilities of images, this package beside every peer that is installed.

    python -m benchmarks.predict [--networks small large] [--samples 1 16 256 2000 20000] [--threads 1 2] [--out FOLDER]

All contestants have the same parameters and give probabilities for float32 images in memory, by a
model that was made before; scikit-learn, which has no batch norm, by the same network without. Prints
a table and how the time of a sample grows with their number; with --out writes predict.json and
predict.png.
"""

import argparse
import statistics
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import arena, output

NETWORKS = {"small": (64, 100, 100, 10), "large": (3072, 1024, 1024, 1024, 10)}
SAMPLES = (1, 16, 256, 2000, 20000)


def images(sizes, n):
    return np.random.RandomState(n).randn(n, sizes[0]).astype(np.float32)


def parameters(sizes, batchnorm=True):
    """One dict a layer: weights, bias, and of hidden layers the batch norm in test mode."""
    rng, layers = np.random.RandomState(0), []
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
        layer = {"W": rng.randn(fan_in, fan_out) * np.sqrt(2 / fan_in), "b": 0.1 * rng.randn(fan_out)}
        norm = {"gamma": rng.uniform(0.5, 1.5, fan_out), "beta": 0.1 * rng.randn(fan_out),
                "mean": 0.1 * rng.randn(fan_out), "var": rng.uniform(0.5, 1.5, fan_out)}
        layers.append({key: value.astype(np.float32)
                       for key, value in (layer | norm if batchnorm and i < len(sizes) - 1 else layer).items()})
    return layers


def dasecv(sizes, threads):
    import daseCV_c
    from daseCV_c.classifiers.fc_net import FullyConnectedNet

    daseCV_c.set_num_threads(threads)
    net = FullyConnectedNet(sizes[1:-1], sizes[0], sizes[-1], normalization="batchnorm")
    for i, layer in enumerate(parameters(sizes), 1):
        net.params.update({f"{key}{i}": value for key, value in layer.items() if key not in ("mean", "var")})
        if "mean" in layer:
            net.bn_params[i - 1].update(running_mean=layer["mean"], running_var=layer["var"])
    return net.predict_proba


def predictor(sizes, threads):
    """The same network as it is now, laid out once, as onnxruntime does it with its graph."""
    from daseCV_c.models import Predictor

    return Predictor(dasecv(sizes, threads).__self__).predict_proba


def torch_eager(sizes, threads):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    model = _torch_model(sizes, torch, nn)

    def predict(X):
        with torch.inference_mode():
            return model(torch.from_numpy(X)).numpy()
    return predict


def _torch_model(sizes, torch, nn):
    modules = []
    for layer in parameters(sizes):
        fan_in, fan_out = layer["W"].shape
        modules.append(nn.Linear(fan_in, fan_out))
        modules[-1].load_state_dict({"weight": torch.from_numpy(layer["W"].T), "bias": torch.from_numpy(layer["b"])})
        if "gamma" in layer:
            norm = nn.BatchNorm1d(fan_out)
            norm.load_state_dict({"weight": torch.from_numpy(layer["gamma"]), "bias": torch.from_numpy(layer["beta"]),
                                  "running_mean": torch.from_numpy(layer["mean"]),
                                  "running_var": torch.from_numpy(layer["var"]),
                                  "num_batches_tracked": torch.tensor(1)})
            modules += [norm, nn.ReLU()]
    return nn.Sequential(*modules, nn.Softmax(dim=1)).eval()


def onnxruntime(sizes, threads):
    """A graph of Gemm, BatchNormalization, Relu and Softmax, which onnxruntime fuses as it sees fit."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors, x = [], [], "X"
    for i, layer in enumerate(parameters(sizes)):
        names = {key: f"{key}{i}" for key in layer}
        tensors += [numpy_helper.from_array(value, names[key]) for key, value in layer.items()]
        nodes.append(helper.make_node("Gemm", [x, names["W"], names["b"]], [x := f"a{i}"]))
        if "gamma" in layer:
            given = [x, names["gamma"], names["beta"], names["mean"], names["var"]]
            nodes += [helper.make_node("BatchNormalization", given, [f"n{i}"], epsilon=1e-5),
                      helper.make_node("Relu", [f"n{i}"], [x := f"h{i}"])]
    nodes.append(helper.make_node("Softmax", [x], ["P"], axis=1))
    graph = helper.make_graph(nodes, "network", [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", sizes[0]])], [
        helper.make_tensor_value_info("P", TensorProto.FLOAT, ["n", sizes[-1]])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda X: session.run(None, {"X": X})[0]


def sklearn(sizes, threads):
    from sklearn.neural_network import MLPClassifier

    model, few = MLPClassifier(sizes[1:-1], max_iter=1), images(sizes, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(few, np.arange(20) % sizes[-1])
    layers = parameters(sizes, batchnorm=False)
    model.coefs_, model.intercepts_ = [layer["W"] for layer in layers], [layer["b"] for layer in layers]
    return model.predict_proba


CONTESTANTS = {
    "daseCV_c": (dasecv, ()),
    "Predictor": (predictor, ()),
    "PyTorch": (torch_eager, ("torch",)),
    "onnxruntime": (onnxruntime, ("onnx", "onnxruntime")),
    "scikit-learn": (sklearn, ("sklearn",)),
}


OURS = ("daseCV_c", "Predictor")


def cases(name, sizes, threads):
    """For `serve_cases`: the prediction of so many images."""
    predict = CONTESTANTS[name][0](sizes, threads)
    return lambda n: partial(predict, images(sizes, n))


def measure(network, threads, samples, rounds, seconds):
    workers = {name: arena.Worker("benchmarks.predict", ["--contestant", name, network, threads], threads)
               for name, (_, modules) in CONTESTANTS.items() if arena.installed(modules)}
    results = []
    for n in samples:
        times = arena.interleave_case(workers, n, rounds, seconds)
        peers = {name: t for name, t in times.items() if name not in OURS}
        fastest = min(peers, key=peers.get, default=None)
        results.append({
            "network": network, "threads": threads, "samples": n, "microseconds": times, "fastest_peer": fastest,
            "ratio_to_fastest_peer": {name: peers[fastest] / times[name] for name in OURS} if peers else None})
    for worker in workers.values():
        worker.close()
    return results


def report(results):
    names = [name for name in CONTESTANTS if any(name in r["microseconds"] for r in results)]
    rows = []
    for r in results:
        times, ours = r["microseconds"], r["microseconds"]["daseCV_c"]
        fastest = "-"
        if r["fastest_peer"]:
            fastest = " ".join([*(f"{ratio:.2f}" for ratio in r["ratio_to_fastest_peer"].values()), r["fastest_peer"]])
        rows.append([r["network"], r["threads"], r["samples"], output.microseconds(ours),
                     *(output.microseconds(times.get(name), ours) for name in names[1:]), fastest])
    output.table(["network", "threads", "samples", *names, "fastest peer"], rows)
    print("microseconds a call; in brackets the ratio to daseCV_c")
    for name in OURS:
        ratios = [r["ratio_to_fastest_peer"][name] for r in results if r["fastest_peer"]]
        if ratios:
            print(f"the fastest peer takes {statistics.median(ratios):.2f} times as long as {name} in the median, "
                  f"{min(ratios):.2f} at least")
    for network, threads in dict.fromkeys((r["network"], r["threads"]) for r in results):
        each = {r["samples"]: r["microseconds"]["daseCV_c"] / r["samples"] for r in results
                if (r["network"], r["threads"]) == (network, threads)}
        if {256, 2000} <= each.keys():
            print(f"  {network}, {threads} threads: a sample of 2000 takes {each[2000] / each[256]:.2f} times as long "
                  "as one of 256")


def chart(results, path):
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((r["network"], r["threads"]) for r in results))
    figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
    for axes, (network, threads) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in CONTESTANTS:
            points = [(r["samples"], r["microseconds"][name] / r["samples"]) for r in results
                      if (r["network"], r["threads"]) == (network, threads) and name in r["microseconds"]]
            axes.loglog(*zip(*points, strict=True), marker="o", label=name)
        axes.set(title=f"{network}, {threads} thread{'s' * (threads > 1)}", xlabel="samples",
                 ylabel="microseconds a sample")
        axes.legend()
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--samples", nargs="+", type=int, default=SAMPLES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn of a contestant")
    parser.add_argument("--out", type=Path, help="folder for predict.json and predict.png")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.contestant:
        name, network, threads = args.contestant
        return arena.serve_cases(cases(name, NETWORKS[network], int(threads)))
    results = [r for network in args.networks for threads in args.threads
               for r in measure(network, threads, args.samples, args.rounds, args.seconds)]
    report(results)
    if args.out:
        output.save(args.out, "predict", results, chart)
    return None


if __name__ == "__main__":
    main()
