"""What the libraries' errors of a GPU mean.

They are known by their names and texts: the runner, which asks, may not import the libraries. torch has types of its
own for most. CTranslate2 raises RuntimeErrors alone ("CUDA failed with error ...", "cuBLAS failed with status ..."),
when it loads a model as well as later, and so does torch for cuBLAS and cuDNN.
"""

_NO_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# Of the libraries' statuses those that follow a fault of the GPU, and not one of what it was asked.
_FAILED = (
    "CUDA failed with error",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_INTERNAL_ERROR",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR",
)


def is_out_of_memory(error: Exception) -> bool:
    """The device's memory is full. The process can go on."""
    return isinstance(error, RuntimeError) and (type(error).__name__ == "OutOfMemoryError" or _says(error, _NO_MEMORY))


def is_gpu_failure(error: Exception) -> bool:
    """The GPU itself failed. CUDA's errors stick: whatever this process asks of it next fails with the same one."""
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    return type(error).__name__ == "AcceleratorError" or _says(error, _FAILED)


def _says(error: Exception, texts: tuple[str, ...]) -> bool:
    return any(text in str(error) for text in texts)
