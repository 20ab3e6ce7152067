"""Networks to and from other libraries: PyTorch, ONNX, scikit-learn. `models` has safetensors."""

from daseCV_c._exchange.onnx_file import export_onnx
from daseCV_c._exchange.sklearn_in import from_sklearn
from daseCV_c._exchange.torch_in import from_torch
from daseCV_c._exchange.torch_out import to_torch

__all__ = ["export_onnx", "from_sklearn", "from_torch", "to_torch"]
