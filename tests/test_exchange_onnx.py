"""ONNX files: the checker passes them, and a runtime computes our scores from them."""

import doctest
import json

import numpy as np
import pytest
from adversarial import frozen
from exchanging import DTYPES, NETS, agree, digits, full, softmax, trained

HOW = 'the extra onnx is not installed: pip install "daseCV_c[onnx]"'
onnx = pytest.importorskip("onnx", reason=HOW)
onnxruntime = pytest.importorskip("onnxruntime", reason=HOW)

from onnx.reference import ReferenceEvaluator  # noqa: E402

from daseCV_c._exchange import onnx_file  # noqa: E402
from daseCV_c.classifiers.cnn import ThreeLayerConvNet  # noqa: E402
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet  # noqa: E402
from daseCV_c.exchange import export_onnx  # noqa: E402

pytestmark = pytest.mark.once

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
each_net = pytest.mark.parametrize("kind", NETS)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, X, reference=False):
    made = ReferenceEvaluator(str(path)) if reference else session(path)
    (scores,) = made.run(None, {"images": X})
    return scores


def sizes(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def test_examples():
    assert doctest.testmod(onnx_file) == (0, 6)


@each_dtype
@each_net
def test_scores(path, kind, dtype):
    net, X = trained(kind, dtype)
    X = X if kind == "cnn" else X.reshape(len(X), -1)
    expected = net.loss(X)
    before, drawn = frozen(vars(net)), np.random.get_state()[2]
    export_onnx(net, path)
    assert frozen(vars(net)) == before and np.random.get_state()[2] == drawn
    onnx.checker.check_model(str(path), full_check=True)
    # onnxruntime has no convolution in float64: there onnx's own evaluator computes.
    missing = kind == "cnn" and dtype == np.float64
    agree(run(path, X, reference=missing), expected)
    agree(run(path, X[:1], reference=missing), expected[:1])
    if missing:
        with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented, match="Conv"):
            session(path)


@each_dtype
def test_batch_norm_before_any_training(path, dtype):
    net, (X, _) = full("batchnorm", dtype), digits(dtype)
    export_onnx(net, path)
    agree(run(path, X.reshape(len(X), -1)), net.loss(X))


@pytest.mark.parametrize("eps", [1e-5, 1e300])
@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm"])
def test_an_eps_that_no_float32_is(path, normalization, eps):
    # The variance is nothing beside eps, so that every digit of it counts.
    net = FullyConnectedNet([6], 4, 3, normalization=normalization, weight_scale=1e-4, dtype=np.float64)
    net.bn_params[0]["eps"] = eps
    X = np.random.default_rng(0).standard_normal((5, 4))
    export_onnx(net, path)
    agree(run(path, X), net.loss(X))


@pytest.mark.parametrize("opset", range(18, onnx.defs.onnx_opset_version() + 1))
@pytest.mark.parametrize("kind", ["batchnorm", "layernorm", "cnn"])
def test_every_opset(path, kind, opset):
    net, X = trained(kind, np.float32)
    export_onnx(net, path, opset=opset, image_shape=(1, 8, 8), softmax=True)
    file = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", opset)]
    agree(ReferenceEvaluator(file).run(None, {"images": X})[0], softmax(net.loss(X)))


def test_constants_have_our_names_and_layout(path):
    net, _ = trained("batchnorm", np.float32)
    export_onnx(net, path)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    wanted = net.params | {f"{name}{i}": entry[name] for i, entry in enumerate(net.bn_params, 1)
                           for name in ("running_mean", "running_var")}
    assert found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


@each_dtype
@pytest.mark.parametrize("kind", ["batchnorm", "cnn"])
def test_images_as_they_are_to_probabilities(path, kind, dtype):
    net, X = trained(kind, dtype)
    net.mean_image = np.random.default_rng(0).uniform(0, 255, (1, 8, 8))
    net.class_names = [*"abcdefgh", "ö", "\ud800"]
    export_onnx(net, path, softmax=True, subtract_mean=True, dtype=np.float32)
    file = onnx.load(path)
    assert {entry.key: json.loads(entry.value) for entry in file.metadata_props} == {"class_names": net.class_names}
    (images,), (output,) = file.graph.input, file.graph.output
    assert (images.name, sizes(images)) == ("images", ["N", 1, 8, 8])
    assert (output.name, sizes(output)) == ("probabilities", ["N", 10])
    raw = (X + net.mean_image).astype(np.float32)
    expected = softmax(net.loss((raw - net.mean_image.astype(np.float32)).astype(dtype)))
    agree(run(path, raw), expected.astype(np.float32))
    assert json.loads(session(path).get_modelmeta().custom_metadata_map["class_names"]) == net.class_names


def test_shapes(path):
    net = FullyConnectedNet([5], 12, 3)
    for image_shape, mean, wanted in ((None, None, [12]), (None, (3, 2, 2), [3, 2, 2]), ((12,), (3, 2, 2), [12]),
                                      ((3, 4), None, [3, 4]), (None, (12,), [12])):
        net.mean_image = None if mean is None else np.arange(12.0).reshape(mean)
        export_onnx(net, path, image_shape=image_shape, subtract_mean=mean is not None)
        assert sizes(onnx.load(path).graph.input[0]) == ["N", *wanted]
        X = np.random.default_rng(0).standard_normal((4, *wanted)).astype(np.float32)
        shift = 0 if mean is None else net.mean_image.reshape(1, *wanted).astype(np.float32)
        agree(run(path, X), net.loss(X - shift))


def test_a_convolutional_network_that_does_not_know_its_images(path):
    net = ThreeLayerConvNet((2, 7, 5), 3, 5, 4, 3, weight_scale="he")
    del net.input_dim
    X = np.random.default_rng(0).standard_normal((4, 2, 7, 5)).astype(np.float32)
    for image_shape, wanted in ((None, ["N", 2, "height", "width"]), ((2, 7, 5), ["N", 2, 7, 5])):
        export_onnx(net, path, image_shape=image_shape)
        assert sizes(onnx.load(path).graph.input[0]) == wanted
        agree(run(path, X), net.loss(X))
    with pytest.raises(ValueError, match="image_shape"):
        export_onnx(net, path, image_shape=(2, 9, 5))


def test_a_two_layer_net_in_float32(path):
    net, X = trained("two", np.float64)
    export_onnx(net, path, dtype="float32")
    agree(run(path, X.reshape(len(X), -1).astype(np.float32)), net.loss(X).astype(np.float32))


def spoiled(value, **attributes):
    net = FullyConnectedNet([5], 4, 3, dtype=np.float64)
    net.params["W1"][0, 0] = value
    vars(net).update(attributes)
    return net


@pytest.mark.parametrize(("net", "arguments", "error", "message"), [
    (spoiled(np.nan), {}, ValueError, "W1 holds a NaN"),
    (spoiled(1e300), {"dtype": np.float32}, ValueError, "W1 holds a number that float32 cannot"),
    (spoiled(0), {"dtype": np.float16}, ValueError, "dtype is float16"),
    (spoiled(0), {"opset": 17}, ValueError, "opset is 17, expected an integer from 18 to"),
    (spoiled(0), {"opset": 10**6}, ValueError, "opset is 1000000"),
    (spoiled(0), {"opset": "20"}, TypeError, "opset is '20'"),
    (spoiled(0), {"subtract_mean": True}, ValueError, "the model has no mean_image"),
    (spoiled(0), {"image_shape": (5,)}, ValueError, r"image_shape is \(5,\), but the network takes 4"),
    (spoiled(0), {"image_shape": 4}, TypeError, "image_shape is 4"),
    (spoiled(0, class_names=["a"]), {}, ValueError, "class_names has 1 names"),
    (spoiled(0, loss=lambda X: X), {}, TypeError, "the model is a FullyConnectedNet with code"),
    (ThreeLayerConvNet((3, 4, 4), 2, 3, 4, 3), {"image_shape": (3, 4, 5)}, ValueError, "image_shape"),
])
def test_what_cannot_be_written(path, net, arguments, error, message):
    path.write_bytes(b"before")
    with pytest.raises(error, match=f"^export_onnx: .*{message}"):
        export_onnx(net, path, **arguments)
    assert path.read_bytes() == b"before" and len(list(path.parent.iterdir())) == 1


def test_more_than_a_file_can_hold(path):
    net = TwoLayerNet(1, 1, 1)
    net.params["W1"] = np.broadcast_to(1.0, (2**28, 1))
    with pytest.raises(ValueError, match="export_onnx: the network has more than the 2 GB"):
        export_onnx(net, path)
