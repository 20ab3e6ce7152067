"""`%load_ext daseCV_c`, and cells that notebooks of other years begin with."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from test_notebook_run import OwnKernel

import daseCV_c

pytestmark = [pytest.mark.notebook, pytest.mark.once]
CELLS = [
    "%load_ext autoreload\n%autoreload 2\n%load_ext daseCV_c",
    "%cd cs231n/datasets\n%cd cs231n\n!python setup.py build_ext --inplace",
    "%load_ext daseCV_c\n%reload_ext daseCV_c",
    "from cs231n.classifiers.fc_net import *\n"
    "from cs231n.data_utils import get_CIFAR10_data\n"
    "from cs231n.fast_layers import conv_forward_fast, conv_backward_fast\n"
    "from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array\n"
    "from cs231n.solver import Solver\n"
    "from cs231n.vis_utils import visualize_grid\n"
    "import importlib, pathlib, daseCV.layers, cs231n.layers\n"
    "assert daseCV.layers is cs231n.layers and importlib.reload(cs231n.layers) is daseCV.layers",
    "path = pathlib.Path('mine.py')\n"
    "path.write_text('def relu_forward(x):\\n    return 0 * x, x\\n')\n"
    "import numpy as np, mine\n"
    "cs231n.layers.relu_forward = mine.relu_forward\n"
    "model, X = TwoLayerNet(3, 2, 2), np.ones((1, 3))\n"
    "model.params['b2'] += 1\n"
    "assert (model.loss(X) == 1).all()",
    # The file is changed, and autoreload takes what it says now.
    "import os\n"
    "path.write_text('def relu_forward(x):\\n    return 0 * x + 1, x\\n')\n"
    "os.utime(path, (0, 2e9))",
    "assert (model.loss(X) == model.params['W2'].sum(axis=0) + 1).all()",
]


def ran(cells, folder):
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    root = str(Path(daseCV_c.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    client = nbclient.NotebookClient(notebook, kernel_manager_class=OwnKernel, startup_timeout=600,
                                     resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"PYTHONPATH": paths})
    return ["".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
            for cell in notebook.cells]


def test_cells_of_other_years(tmp_path):
    printed = ran(CELLS, tmp_path)
    assert re.search(r"^daseCV_c [0-9.]+: (kernels of level \w+|the NumPy twins.*), \d+ threads\n"
                     r"daseCV: daseCV_c\ncs231n: daseCV_c\n$", printed[0])
    assert "No such file or directory" in printed[1]


def test_a_folder_beside_the_notebook_is_left_alone(tmp_path):
    for name in ("cs231n", "daseCV"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "layers.py").write_text("mine = True\n")
    first, *_ = ran(["%load_ext daseCV_c", "import daseCV.layers, daseCV.optim\nassert daseCV.layers.mine",
                     "try:\n    import cs231n.optim\nexcept ModuleNotFoundError:\n    pass\nelse:\n    assert False"],
                    tmp_path)
    assert f"daseCV: the modules in {tmp_path / 'daseCV'}; those that it lacks from daseCV_c\n" in first
    assert f"cs231n: the modules in {tmp_path / 'cs231n'}; daseCV_c.alias('cs231n') adds what they lack\n" in first
