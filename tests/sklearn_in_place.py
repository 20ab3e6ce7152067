"""A plugin for pytest that puts the drop-in classes in the place of scikit-learn's, before any test is imported.

    python -m pytest -p sklearn_in_place --pyargs sklearn.neural_network.tests.test_mlp

with this folder in PYTHONPATH. At the end it writes what was used to the file that DASECV_USAGE names.
"""

import json
import os

import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron

import daseCV_c.sklearn

NAMES = ("MLPClassifier", "MLPRegressor")


def pytest_configure(config):
    for name in NAMES:
        for module in (sklearn.neural_network, _multilayer_perceptron):
            setattr(module, name, getattr(daseCV_c.sklearn, name))


def pytest_collection_modifyitems(items):
    for module in {item.module for item in items}:
        for name in NAMES:
            assert getattr(module, name, None) in (None, getattr(daseCV_c.sklearn, name)), (module, name)


def pytest_sessionfinish(session):
    modules = {item.module.__name__ for item in session.items if hasattr(item.module, "MLPClassifier")}
    found = {"usage": daseCV_c.sklearn.usage(), "modules": sorted(modules), "tests": session.testscollected,
             "version": sklearn.__version__}
    with open(os.environ["DASECV_USAGE"], "w") as file:
        json.dump(found, file)
